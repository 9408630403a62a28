package config

import (
	"net/netip"
	"strconv"
	"strings"
)

// Destination is one entry of a filter of outgoing connections: what is left
// empty is any.
type Destination struct {
	// Network is "tcp" or "udp".
	Network string
	// Name of a host, in lower case.
	Name string
	// Prefix of addresses; not valid for any.
	Prefix netip.Prefix
	Port   uint16
}

// ParseDestination reads [tcp://|udp://]WHERE[:PORT], or :PORT, where WHERE is
// a name, an address or a CIDR.
func ParseDestination(text string) (Destination, bool) {
	var d Destination
	if network, rest, ok := strings.Cut(text, "://"); ok {
		network = strings.ToLower(network)
		if network != "tcp" && network != "udp" {
			return d, false
		}
		d.Network, text = network, rest
	}
	if d.where(text) {
		return d, true
	}
	at := strings.LastIndex(text, ":")
	if at < 0 {
		return d, false
	}
	port, err := strconv.ParseUint(text[at+1:], 10, 16)
	if err != nil || port == 0 {
		return d, false
	}
	d.Port = uint16(port)
	return d, at == 0 || d.where(text[:at])
}

// where reads a name, an address or a CIDR.
func (d *Destination) where(text string) bool {
	bare := strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	if address, err := netip.ParseAddr(bare); err == nil {
		d.Prefix = netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen())
		return true
	}
	if prefix, err := netip.ParsePrefix(bare); err == nil {
		d.Prefix = prefix.Masked()
		return true
	}
	if !isName(text) {
		return false
	}
	d.Name = strings.ToLower(strings.TrimSuffix(text, "."))
	return true
}

// isName says whether a text is a host's name; "*" stands for any label.
func isName(text string) bool {
	if text == "" || len(text) > 253 || strings.Trim(text, "0123456789.") == "" {
		return false // digits alone are an address that is none
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(text, "."), ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_*") != "" {
			return false
		}
	}
	return true
}

// ParseName reads one entry of a filter of names: NAME or *.NAME; a port, which
// looking up a name does not have, is left out.
func ParseName(text string) (string, bool) {
	d, ok := ParseDestination(text)
	return d.Name, ok && d.Name != "" && d.Network == ""
}

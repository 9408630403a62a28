//go:build linux

package network

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// peerName of the far end of a veth pair. Nothing but a packet socket is there.
const peerName = "backstage"

// Device is the far end of the interface: whoever reads File reads what the
// stage sends, and what is written arrives in the stage. Each read and each
// write is a frame: a virtio_net_hdr of 10 bytes, an Ethernet header of 14
// where Ethernet is set, an IP packet.
type Device struct {
	File *os.File
	// Kind is "tun" or "veth".
	Kind string
	// Ethernet says that frames have an Ethernet header; MAC is the interface's
	// own address then.
	Ethernet bool
	MAC      [6]byte

	peer string
}

// Open makes the interface: a TUN device, or a veth pair with a packet socket
// at its far end where kind is "veth", or where kind is empty and /dev/net/tun
// may not be used.
func Open(kind string) (*Device, error) {
	var whyNotTUN error
	if kind != "veth" {
		device, err := openTUN()
		if err == nil {
			return device, nil
		}
		if kind == "tun" {
			return nil, err
		}
		whyNotTUN = err
	}
	device, err := openVeth()
	return device, errors.Join(err, whenFailed(err, whyNotTUN))
}

// whenFailed keeps the reason of the first attempt for the case that the
// second fails too.
func whenFailed(second, first error) error {
	if second == nil {
		return nil
	}
	return first
}

func openTUN() (*Device, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(Name)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("naming the TUN device: %w", err)
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("making the TUN device: %w", err)
	}
	// Checksums are not computed on the way to the far end, which is in this
	// machine's memory, and what TCP sends at once comes in one frame.
	const offloads = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloads); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("setting the TUN device's offloads: %w", err)
	}
	return &Device{File: os.NewFile(uintptr(fd), "tun"), Kind: "tun"}, nil
}

func openVeth() (*Device, error) {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = Name
	attributes.MTU = MTU
	pair := &netlink.Veth{LinkAttrs: attributes, PeerName: peerName, PeerMTU: MTU}
	if err := netlink.LinkAdd(pair); err != nil {
		return nil, fmt.Errorf("making a veth pair: %w", err)
	}
	near, err := netlink.LinkByName(Name)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", Name, err)
	}
	far, err := netlink.LinkByName(peerName)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", peerName, err)
	}
	// No neighbour is ever asked for: without ARP the kernel sends everything
	// to the interface's own address.
	for _, link := range []netlink.Link{near, far} {
		if err := netlink.LinkSetARPOff(link); err != nil {
			return nil, fmt.Errorf("switching ARP off on %s: %w", link.Attrs().Name, err)
		}
	}
	if HasIPv6() {
		_ = sysctl("net/ipv6/conf/"+peerName+"/disable_ipv6", "1")
	}
	fd, err := packetSocket(far.Attrs().Index)
	if err != nil {
		return nil, err
	}
	device := &Device{File: os.NewFile(uintptr(fd), "packet"), Kind: "veth", Ethernet: true, peer: peerName}
	copy(device.MAC[:], near.Attrs().HardwareAddr)
	return device, nil
}

// receiveBuffer of the packet socket in bytes, where it may be had; the kernel
// drops what does not fit, and TCP in the stage then slows down.
const receiveBuffer = 8 << 20

func packetSocket(index int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, fmt.Errorf("making a packet socket: %w", err)
	}
	fail := func(what string, err error) (int, error) {
		unix.Close(fd)
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		return fail("asking a packet socket for virtio headers", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		return fail("keeping a packet socket from hearing what is sent", err)
	}
	for force, plain := range map[int]int{unix.SO_RCVBUFFORCE: unix.SO_RCVBUF, unix.SO_SNDBUFFORCE: unix.SO_SNDBUF} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, receiveBuffer) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, receiveBuffer)
		}
	}
	address := &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: index}
	if err := unix.Bind(fd, address); err != nil {
		return fail("binding a packet socket", err)
	}
	return fd, nil
}

func bigEndian(v uint16) uint16 { return v<<8 | v>>8 }

//go:build linux

package root

import (
	"os"
	"slices"
	"strings"

	"understudy.dev/understudy/operator/tunnel"
)

const switchPath = "/etc/nsswitch.conf"

// nameServiceSwitch is the host's own but for hosts: those are looked up in the
// pod's hosts and with the pod's name servers, and nowhere else. Users and
// groups remain the host's.
func nameServiceSwitch() tunnel.File {
	host, err := os.ReadFile(switchPath)
	if err != nil {
		host = []byte("passwd: files\ngroup: files\nshadow: files\n")
	}
	return tunnel.File{Path: switchPath, Mode: 0o644, Data: []byte(rewriteSwitch(string(host)))}
}

func rewriteSwitch(host string) string {
	var lines []string
	for line := range strings.Lines(host) {
		database, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		if database = strings.TrimSpace(database); database != "hosts" && database != "networks" {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return strings.Join(append(lines, "hosts: files dns", "networks: files"), "\n") + "\n"
}

// withoutSwitch leaves out the pod's own: it names databases of the image.
func withoutSwitch(files []tunnel.File) []tunnel.File {
	return slices.DeleteFunc(slices.Clone(files), func(file tunnel.File) bool { return file.Path == switchPath })
}

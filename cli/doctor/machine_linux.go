package doctor

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/cli/stage"
)

// Machine looks at this machine.
func Machine() []Finding {
	findings := []Finding{kernel()}
	namespaces := Finding{Of: "user namespaces", State: OK, Says: "a stage for the local process can be made"}
	if err := stage.Check(); err != nil {
		namespaces.State, namespaces.Says = Problem, err.Error()
		namespaces.Do = "change what is said there, as this machine's administrator"
	}
	device := Finding{Of: "network", State: OK, Says: "/dev/net/tun can be opened"}
	if err := openable("/dev/net/tun"); err != nil {
		device.Says = fmt.Sprintf("a veth pair and a packet socket are used, as /dev/net/tun cannot be opened (%v)", err)
	}
	files := Finding{Of: "files", State: OK, Says: "/dev/fuse can be opened"}
	if err := openable("/dev/fuse"); err != nil {
		files.State = Warning
		files.Says = fmt.Sprintf("/dev/fuse cannot be opened (%v): mounted config maps, secrets and tokens are there all the same", err)
		files.Do = "load the module fuse, and let your user open /dev/fuse"
	}
	return append(findings, namespaces, device, files)
}

func kernel() Finding {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return Finding{Of: "kernel", State: Unknown, Says: err.Error()}
	}
	return Finding{Of: "kernel", State: OK, Says: "Linux " + unix.ByteSliceToString(name.Release[:]) + " " + unix.ByteSliceToString(name.Machine[:])}
}

// openable opens a device and does nothing with it.
func openable(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err.(*os.PathError).Err //nolint:errorlint // os.OpenFile returns no other
	}
	return file.Close()
}

package developer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"understudy.dev/understudy/test/e2e/laptop"
)

// Developer is one person with a kubeconfig and a folder of their own.
type Developer struct {
	// Home is the folder, which the developer's account owns.
	Home string
	// Network is the laptop's own; nil is the machine's.
	Network *laptop.Network
	// Root has the commands run as the caller, who is the machine's root: for what
	// this machine keeps from everybody else.
	Root bool
	// Environment is added to what the developer's commands see.
	Environment []string
	machine     *Machine
}

// Developer gives a person a place on the machine. Without a kubeconfig there
// is none.
func (m *Machine) Developer(kubeconfig []byte) (*Developer, error) {
	home, err := os.MkdirTemp(m.Folder, "home-")
	if err != nil {
		return nil, fmt.Errorf("making a developer's home: %w", err)
	}
	d := &Developer{Home: home, machine: m}
	err = os.Chown(home, m.uid, m.gid)
	if kubeconfig != nil {
		err = errors.Join(err, d.Write("kubeconfig", string(kubeconfig)))
	}
	if err != nil {
		return nil, fmt.Errorf("furnishing a developer's home: %w", err)
	}
	return d, nil
}

// Write puts a file into the developer's home, executable like a script.
func (d *Developer) Write(name, content string) error {
	path := filepath.Join(d.Home, name)
	if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
		return err
	}
	return os.Chown(path, d.machine.uid, d.machine.gid)
}

// Program is the path of a program that is installed on the machine.
func (d *Developer) Program(name string) string { return d.machine.Program(name) }

// environment is all that a developer's commands see of the environment.
func (d *Developer) environment(marker string) []string {
	return append([]string{
		"PATH=" + d.machine.Folder + "/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
		"HOME=" + d.Home, "USER=" + account, "LANG=C.UTF-8", "TERM=dumb",
		"KUBECONFIG=" + filepath.Join(d.Home, "kubeconfig"),
		markerName + "=" + marker,
	}, d.Environment...)
}

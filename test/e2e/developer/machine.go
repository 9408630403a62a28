// Package developer is a person at a machine: an ordinary user of it, not
// root, with a kubeconfig and the programs that were built, who types commands
// and reads what they say.
package developer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
)

// account is the machine's user that commands run as where the caller is root.
const account = "understudy-e2e"

// Machine is where developers work: an account and a folder of programs that
// it can read, wherever the checkout lies.
type Machine struct {
	// Folder holds the programs in bin and everything that developers keep.
	Folder   string
	uid, gid int
}

// NewMachine copies the programs of the folders to where the account can run
// them. Called by root it makes the account if there is none; else the account
// is the caller's own.
func NewMachine(programs ...string) (*Machine, error) {
	m := &Machine{uid: os.Getuid(), gid: os.Getgid()}
	if m.uid == 0 {
		if err := m.ordinary(); err != nil {
			return nil, err
		}
	}
	var err error
	if m.Folder, err = os.MkdirTemp("", "understudy-e2e-"); err != nil {
		return nil, fmt.Errorf("making the developers' folder: %w", err)
	}
	bin := filepath.Join(m.Folder, "bin")
	if err := errors.Join(os.Chmod(m.Folder, 0o755), os.Mkdir(bin, 0o755)); err != nil {
		return nil, fmt.Errorf("making the developers' folder: %w", err)
	}
	for _, folder := range programs {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, fmt.Errorf("finding the programs (`make build` makes them): %w", err)
		}
		for _, entry := range entries {
			if !entry.Type().IsRegular() {
				continue
			}
			if err := install(filepath.Join(folder, entry.Name()), filepath.Join(bin, entry.Name())); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// ordinary looks the account up, and makes it where it is missing.
func (m *Machine) ordinary() error {
	who, err := user.Lookup(account)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		fmt.Fprintf(os.Stderr, "making the user %s, because nothing here is to run as root\n", account)
		if out, err := exec.Command("useradd", "--system", "--no-create-home", "--shell", "/bin/sh", account).CombinedOutput(); err != nil {
			return fmt.Errorf("making the user %s: %w: %s", account, err, out)
		}
		who, err = user.Lookup(account)
	}
	if err != nil {
		return fmt.Errorf("looking up the user %s: %w", account, err)
	}
	if m.uid, err = strconv.Atoi(who.Uid); err != nil {
		return fmt.Errorf("reading the user %s: %w", account, err)
	}
	if m.gid, err = strconv.Atoi(who.Gid); err != nil {
		return fmt.Errorf("reading the user %s: %w", account, err)
	}
	return nil
}

func install(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("installing %s: %w", from, err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return fmt.Errorf("installing %s: %w", from, err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("installing %s: %w", from, err)
	}
	return nil
}

// Program is the path of an installed program.
func (m *Machine) Program(name string) string { return filepath.Join(m.Folder, "bin", name) }

// Close removes the folder.
func (m *Machine) Close() error { return os.RemoveAll(m.Folder) }

// UID and GID are the account's.
func (m *Machine) UID() int { return m.uid }

// GID is the account's group.
func (m *Machine) GID() int { return m.gid }

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"understudy.dev/understudy/test/cluster/component"
	"understudy.dev/understudy/test/cluster/dns"
	"understudy.dev/understudy/test/cluster/image"
	"understudy.dev/understudy/test/cluster/network"
)

// NATSImage holds the real nats-server, for the demo and the tests.
const NATSImage = "understudy.dev/nats-server:own"

// ownImages makes those images that are not there for the programs as they are
// now, and returns their archives.
func (c *Cluster) ownImages() ([]string, error) {
	var archives []string
	for _, one := range []struct{ image, program string }{
		{component.SandboxImage, "pause"},
		{dns.Image, "coredns"},
		{NATSImage, "nats-server"},
	} {
		target, err := os.Readlink(c.Layout.Program(one.program))
		if err != nil {
			return nil, fmt.Errorf("making image %s: %w", one.image, err)
		}
		// Named as the program's folder, which is named for all that the program is.
		archive := filepath.Join(c.Layout.Images(), one.program+"-"+filepath.Base(filepath.Dir(target))+".tar")
		archives = append(archives, archive)
		if _, err := os.Stat(archive); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("making image %s: %w", one.image, err)
		}
		fmt.Fprintf(c.Out, "making image %s\n", one.image)
		spec := image.Spec{
			Name:       one.image,
			Files:      map[string]string{"/" + one.program: target},
			Folders:    []string{"/tmp"},
			Entrypoint: []string{"/" + one.program},
		}
		if err := image.Write(spec, archive); err != nil {
			return nil, err
		}
	}
	return archives, nil
}

// Load imports an image archive on every node; with missing only where there is
// no image of that name, which is for names that say what is in an image.
func (c *Cluster) Load(ctx context.Context, archive string, missing bool) error {
	name := ""
	if missing {
		var err error
		if name, err = image.Name(archive); err != nil {
			return fmt.Errorf("loading image: %w", err)
		}
	} else if _, err := os.Stat(archive); err != nil {
		return fmt.Errorf("loading image: %w", err)
	}
	for _, node := range network.Nodes {
		if _, err := c.Machine(node.Name); err != nil {
			return err
		}
		if missing {
			there, err := c.ctr(ctx, node.Name, "images", "ls", "--quiet", "name=="+name)
			if err != nil {
				return err
			}
			if strings.TrimSpace(there) == name {
				continue
			}
		}
		if err := c.load(ctx, node.Name, archive); err != nil {
			return err
		}
		fmt.Fprintf(c.Out, "loaded %s on %s\n", archive, node.Name)
	}
	return nil
}

func (c *Cluster) load(ctx context.Context, node, archive string) error {
	if _, err := c.ctr(ctx, node, "images", "import", archive); err != nil {
		return fmt.Errorf("loading %s on %s: %w", archive, node, err)
	}
	return nil
}

// ctr runs a command of containerd's client on a node, in the kubelet's namespace
// of images, and gives what it said beside its warnings.
func (c *Cluster) ctr(ctx context.Context, node string, args ...string) (string, error) {
	all := append([]string{"--address", c.Layout.ContainerdSocket(node), "--namespace", "k8s.io"}, args...)
	cmd := exec.CommandContext(ctx, c.Layout.Program("ctr"), all...)
	var said, warned bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &warned
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("asking containerd: %w\n%s%s", err, &said, &warned)
	}
	return said.String(), nil
}

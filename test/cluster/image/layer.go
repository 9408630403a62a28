package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// content is what a layer is made of, by absolute paths in the image.
type content struct {
	folders map[string]int64  // to their modes
	files   map[string]string // to files outside
	links   map[string]string // to what they say
}

func contentOf(spec Spec) (content, error) {
	c := content{folders: map[string]int64{}, files: map[string]string{}, links: map[string]string{}}
	if spec.Root != "" {
		if err := c.walk(spec.Root); err != nil {
			return c, err
		}
	}
	parents := func(of string) {
		for folder := path.Dir(of); folder != "/"; folder = path.Dir(folder) {
			if _, known := c.folders[folder]; !known {
				c.folders[folder] = 0o755
			}
		}
	}
	for _, folder := range spec.Folders {
		if !path.IsAbs(folder) {
			return c, fmt.Errorf("folder %q is not an absolute path", folder)
		}
		c.folders[path.Clean(folder)] = 0o1777
		parents(path.Clean(folder))
	}
	for inside, outside := range spec.Files {
		if !path.IsAbs(inside) {
			return c, fmt.Errorf("file %q is not an absolute path", inside)
		}
		c.files[path.Clean(inside)] = outside
		parents(path.Clean(inside))
	}
	return c, nil
}

// walk takes a folder as the root. What is neither file, folder nor link has no
// place in an image.
func (c content) walk(root string) error {
	return filepath.WalkDir(root, func(outside string, entry fs.DirEntry, err error) error {
		if err != nil || outside == root {
			return err
		}
		inside := "/" + filepath.ToSlash(strings.TrimPrefix(outside, filepath.Clean(root)+string(filepath.Separator)))
		switch {
		case entry.IsDir():
			c.folders[inside] = 0o755
		case entry.Type().IsRegular():
			c.files[inside] = outside
		case entry.Type() == fs.ModeSymlink:
			c.links[inside], err = os.Readlink(outside)
		default:
			err = fmt.Errorf("%s is neither a file, a folder nor a link", outside)
		}
		return err
	})
}

// layer packs the files, every folder before what is in it.
func layer(spec Spec) ([]byte, error) {
	c, err := contentOf(spec)
	if err != nil {
		return nil, err
	}
	names := slices.Concat(slices.Collect(maps.Keys(c.folders)), slices.Collect(maps.Keys(c.files)), slices.Collect(maps.Keys(c.links)))
	sort.Strings(names)

	var packed bytes.Buffer
	archive := tar.NewWriter(&packed)
	for _, at := range slices.Compact(names) {
		if err := c.pack(archive, at); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

func (c content) pack(archive *tar.Writer, at string) error {
	relative := strings.TrimPrefix(at, "/")
	if to, isLink := c.links[at]; isLink {
		return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: relative, Linkname: to, Mode: 0o777})
	}
	outside, isFile := c.files[at]
	if !isFile {
		return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: relative + "/", Mode: c.folders[at]})
	}
	packed, err := os.ReadFile(outside)
	if err != nil {
		return err
	}
	info, err := os.Stat(outside)
	if err != nil {
		return err
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: relative, Mode: int64(info.Mode().Perm()), Size: int64(len(packed))}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = archive.Write(packed)
	return err
}

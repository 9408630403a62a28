package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/freeze/cgroup"
)

// Directory is where records are on a node. It is gone after a reboot, as is
// everything that they speak of.
const Directory = "/run/understudy"

// Record is what has to be undone of one session on this node.
type Record struct {
	// Format is of this structure; what is of another is not touched.
	Format int `json:"format"`
	// Session names it; it is the file's name, and what the fence's rules bear.
	Session string `json:"session"`
	// Owner of the session, to be read by people.
	Owner string `json:"owner,omitempty"`
	// Pod is NAMESPACE/NAME, to be read by people.
	Pod    string `json:"pod"`
	PodUID string `json:"podUID"`
	// Frozen is what is or is about to be frozen.
	Frozen []Frozen  `json:"frozen"`
	Since  time.Time `json:"since"`
	// Agent is who has frozen it, Guard who watches over that.
	Agent Process `json:"agent"`
	Guard Process `json:"guard"`
}

const format = 1

// Frozen is one container and the cgroup in which it is frozen.
type Frozen struct {
	cgroup.Container
	Version cgroup.Version `json:"version"`
	Path    string         `json:"path"`
}

// Dir is a directory of records.
type Dir string

func (d Dir) path(session string) string { return filepath.Join(string(d), session+recordSuffix) }

const recordSuffix = ".json"

// Check refuses a session's name that cannot be a file's.
func Check(session string) error {
	if session == "" || len(session) > 200 || strings.HasPrefix(session, ".") {
		return fmt.Errorf("%q cannot be a session's name on a node", session)
	}
	for _, r := range session {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r) {
			return fmt.Errorf("%q cannot be a session's name on a node: it has %q", session, r)
		}
	}
	return nil
}

// HeldError says that another session has a container already.
type HeldError struct{ By Record }

func (e *HeldError) Error() string {
	who := "session " + e.By.Session
	if e.By.Owner != "" {
		who = fmt.Sprintf("%s (session %s)", e.By.Owner, e.By.Session)
	}
	return fmt.Sprintf("pod %s is held by %s since %s", e.By.Pod, who, e.By.Since.Format(time.RFC3339))
}

// Claim writes r, on the disk when it returns, unless there is a record by another
// agent, of this session or with one of its containers: then the error is a
// *HeldError. What an agent left that is no more has to be undone first. A first
// claim is refused with an *UnreadableError where a record that cannot be read is
// of the same pod, or does not say: two versions must not both freeze a container.
func (d Dir) Claim(r Record) error {
	if err := Check(r.Session); err != nil {
		return err
	}
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return fmt.Errorf("making the directory of records: %w", err)
	}
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	others, err := d.List()
	unreadable, err := Unreadable(err)
	if err != nil {
		return err
	}
	first := true
	for _, other := range others {
		mine := other.Agent == r.Agent && other.Session == r.Session
		first = first && !mine
		if !mine && (other.Session == r.Session || other.shares(r)) {
			return &HeldError{By: other}
		}
	}
	// What is known to be another pod's must not keep everybody from this node.
	for _, other := range unreadable {
		if first && (other.PodUID == "" || other.PodUID == r.PodUID || other.Session == r.Session) {
			return other
		}
	}
	r.Format = format
	if err := d.write(r); err != nil {
		return fmt.Errorf("writing the record of session %s: %w", r.Session, err)
	}
	return nil
}

func (r Record) shares(other Record) bool {
	for _, a := range r.Frozen {
		for _, b := range other.Frozen {
			if a.Container == b.Container {
				return true
			}
		}
	}
	return false
}

// lock keeps two agents from claiming at once. It ends with the process at the
// latest.
func (d Dir) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(string(d), ".lock"), os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the records: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking the records: %w", err)
	}
	return func() { f.Close() }, nil
}

func (d Dir) write(r Record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return d.replace(r.Session+recordSuffix, append(data, '\n'))
}

// replace writes a file as a whole and returns when it is on the disk.
func (d Dir) replace(name string, data []byte) (err error) {
	part, err := os.CreateTemp(string(d), ".part-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(part.Name())
		}
	}()
	_, err = part.Write(data)
	if err == nil {
		err = part.Sync()
	}
	if err = errors.Join(err, part.Close()); err != nil {
		return err
	}
	if err := os.Rename(part.Name(), filepath.Join(string(d), name)); err != nil {
		return err
	}
	return d.sync()
}

func (d Dir) sync() error {
	dir, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// Read returns a session's record; the error is fs.ErrNotExist if it has none.
func (d Dir) Read(session string) (Record, error) {
	data, err := os.ReadFile(d.path(session))
	if err != nil {
		return Record{}, fmt.Errorf("reading the record of session %s: %w", session, err)
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, fmt.Errorf("reading the record of session %s: %w", session, err)
	}
	if r.Format != format || r.Session != session {
		return Record{}, fmt.Errorf("reading the record of session %s: it is of format %d and speaks of %q; an agent of another version has to undo it", session, r.Format, r.Session)
	}
	return r, nil
}

// Remove takes a session's record away, after all is undone.
func (d Dir) Remove(session string) error {
	if err := Check(session); err != nil {
		return err
	}
	err := os.Remove(d.path(session))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = d.sync()
	}
	if err != nil {
		return fmt.Errorf("removing the record of session %s: %w", session, err)
	}
	return nil
}

// List returns all that can be read. The error names those that cannot, to be
// taken apart by Unreadable.
func (d Dir) List() ([]Record, error) {
	entries, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the records: %w", err)
	}
	var records []Record
	var unreadable []error
	for _, entry := range entries {
		session, ok := strings.CutSuffix(entry.Name(), recordSuffix)
		if !ok || Check(session) != nil {
			continue
		}
		r, err := d.Read(session)
		switch {
		case err == nil:
			records = append(records, r)
		case !errors.Is(err, fs.ErrNotExist):
			unreadable = append(unreadable, d.unreadable(session, err))
		}
	}
	return records, errors.Join(unreadable...)
}

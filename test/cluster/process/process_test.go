package process

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"testing"

	"understudy.dev/understudy/test/cluster/cgroup"
)

func TestParseStart(t *testing.T) {
	tail := " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"
	tests := map[string]struct {
		stat string
		want uint64
		gone bool
		bad  bool
	}{
		"plain":              {stat: "7 (etcd) S" + tail, want: 4711},
		"name with brackets": {stat: "7 (a) S) (b) R" + tail, want: 4711},
		"dead, not reaped":   {stat: "7 (etcd) Z" + tail, gone: true},
		"cut off":            {stat: "7 (etcd) S 1 2", bad: true},
		"no name":            {stat: "", bad: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseStart(test.stat)
			if test.gone && !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("error %v, want %v", err, fs.ErrNotExist)
			}
			if test.bad && err == nil {
				t.Fatal("no error")
			}
			if !test.gone && !test.bad && err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("start %d, want %d", got, test.want)
			}
		})
	}
}

func TestFindKnowsAnotherProcessWithTheSameID(t *testing.T) {
	table := Table{Folder: t.TempDir(), Host: cgroup.Host{Mount: "/sys/fs/cgroup"}}
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	start, err := startOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		start uint64
		want  bool
	}{{"same", start, true}, {"reused", start - 1, false}} {
		writeRecord(t, table, Record{Name: test.name, PID: cmd.Process.Pid, Start: test.start})
		_, running, err := table.Find(test.name)
		if err != nil {
			t.Fatal(err)
		}
		if running != test.want {
			t.Errorf("%s: running %v, want %v", test.name, running, test.want)
		}
	}
	if err := os.WriteFile(table.file("torn"), []byte(`{"name":`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, running, err := table.Find("torn"); running || err != nil {
		t.Errorf("a record cut off by a crash: running %v, error %v", running, err)
	}
}

package agent

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/agent/root"
	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/freeze"
	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/freeze/record"
)

// messageFile is where the kubelet reads a container's last word.
const messageFile = "/dev/termination-log"

// runNode is the program as an agent on a node: args are those after the command.
func runNode(command string, args []string, stderr io.Writer) int {
	if command == "files" {
		return root.Main()
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	flags := flag.NewFlagSet("understudy-agent "+command, flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("config-dir", settings.Directory, "where the operator's Secret is mounted")
	places := nodePlaces{config: dir}
	flags.StringVar(&places.once, "once-dir", settings.OnceDirectory, "where a mark says that an agent of this pod was here")
	flags.StringVar(&places.state, "state-dir", string(record.Directory), "where the node remembers what is frozen")
	pod := flags.String("pod", "", "UID of the pod to thaw; empty for all of this node")
	owners := flags.Int("owners", -1, "descriptor of the socket that owners connect to")
	if err := flags.Parse(args); err != nil || flags.NArg() != 0 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var said string
	var err error
	switch command {
	case "node":
		said, err = enterPod(ctx, places)
	case "frozen":
		said, err = serveFrozen(ctx, log, places, *owners)
	case "thaw":
		said, err = thawPod(ctx, "an agent that only thaws", cgroup.Node{}, record.Dir(places.state), *pod)
	}
	if err != nil {
		log.Error("agent failed", "error", err)
		lastWord(log, err.Error())
		return exitFailed
	}
	log.Info("agent ended", "said", said)
	lastWord(log, said)
	return exitOK
}

// nodePlaces are the folders of an agent on a node.
type nodePlaces struct {
	config      *string
	once, state string
}

// lastWord is read by the operator. It is there in a pod only.
func lastWord(log *slog.Logger, text string) {
	err := os.WriteFile(messageFile, []byte(text), 0o644)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("the last word was not written", "error", err)
	}
}

// enterPod opens what is to be reached in the agent's own pod, and begins anew
// as a process that is wholly in the target's network namespace: the same
// process by its number, with the socket handed over. It returns only when
// there is nothing to begin.
func enterPod(ctx context.Context, places nodePlaces) (said string, err error) {
	config, err := settings.LoadConfig(*places.config)
	if err != nil {
		return "", err
	}
	if config.Freeze == nil {
		return "", errors.New("the configuration says nothing of what to freeze")
	}
	// Before anything else: what was here before may have been killed in the
	// midst of it.
	again, err := beenHere(places.once)
	if err != nil {
		return "", err
	}
	if again {
		return thawPod(ctx, "the agent, started again", cgroup.Node{}, record.Dir(places.state), config.Freeze.PodUID)
	}
	if said := tooLate(config.Freeze.NotAfter, time.Now()); said != "" {
		return said, nil
	}
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), config.Port)
	owners, err := new(net.ListenConfig).Listen(ctx, "tcp4", addr.String())
	if err != nil {
		return "", fmt.Errorf("listening for the owner: %w", err)
	}
	ns, err := cgroup.Node{}.NetworkNamespace(config.Freeze.PodUID)
	if err != nil {
		return "", err
	}
	args := []string{os.Args[0], "frozen", "--config-dir=" + *places.config, "--state-dir=" + places.state, "--once-dir=" + places.once}
	file, err := owners.(*net.TCPListener).File()
	if err != nil {
		return "", fmt.Errorf("handing the owners' socket over: %w", err)
	}
	if _, err := unix.FcntlInt(file.Fd(), unix.F_SETFD, 0); err != nil {
		return "", fmt.Errorf("handing the owners' socket over: %w", err)
	}
	args = append(args, "--owners="+strconv.Itoa(int(file.Fd())))
	runtime.LockOSThread()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return "", fmt.Errorf("entering the pod's network namespace: %w", err)
	}
	// The thread that calls is the one that is left, in its namespace.
	return "", fmt.Errorf("beginning in the pod's network namespace: %w", unix.Exec("/proc/self/exe", args, os.Environ()))
}

// tooLate is what an agent says that nobody waits for any more; empty while
// somebody does.
func tooLate(notAfter, now time.Time) string {
	if notAfter.IsZero() || !now.After(notAfter) {
		return ""
	}
	return settings.TooLate + fmt.Sprintf("%s, and was started at %s", notAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
}

// beenHere says whether an agent of this pod has run before, and leaves a mark
// for the next.
func beenHere(dir string) (bool, error) {
	file, err := os.OpenFile(filepath.Join(dir, "begun"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("leaving a mark for the next agent: %w", err)
	}
	return false, file.Close()
}

// thawPod undoes what is recorded of a pod, whoever froze it, and thaws what is
// frozen without a record. An empty UID is every pod of the node, where what is
// frozen without a record is named and left. It answers, as
// the one that it says it is, what it has seen, which may be nothing of the pod; its success proves that nothing
// is frozen. A record that cannot be read is in the way of the proof only where it
// is of that pod: its containers are thawed all the same, but its fence may stand.
func thawPod(ctx context.Context, self string, node cgroup.Node, dir record.Dir, podUID string) (string, error) {
	undoer := record.Undoer{Node: node, Cleanups: cleanups}
	records, err := dir.List()
	unreadable, err := record.Unreadable(err)
	errs := []error{err}
	for _, bad := range unreadable {
		if podUID == "" || bad.PodUID == podUID {
			errs = append(errs, bad)
		}
	}
	thawed, lives := 0, false
	for _, r := range records {
		if podUID != "" && r.PodUID != podUID {
			continue
		}
		if r.Agent.Lives() {
			// It would freeze again. It is the operator's to end it; who asks by
			// hand ends it first.
			lives = true
			errs = append(errs, fmt.Errorf("the agent of session %s (process %d) is there still", r.Session, r.Agent.PID))
			continue
		}
		found := undoer.Frozen(r)
		thawed += found
		err := freeze.Undo(ctx, dir, undoer, r)
		if found > 0 && undoer.Frozen(r) == 0 {
			// Should this be lost before it is read, or fail with something else.
			err = errors.Join(err, dir.Leave(record.Word{Session: r.Session, PodUID: r.PodUID, By: self}))
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	more := 0
	switch {
	case podUID == "":
		more, err = thawNode(ctx, node, dir, records)
	case !lives:
		more, err = thawRest(ctx, node, podUID)
	}
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	words := dir.Words(podUID)
	if podUID != "" && thawed+more == 0 && len(words) == 0 {
		there, err := node.Containers(podUID)
		if err != nil {
			return "", err
		}
		if len(there) == 0 {
			return settings.NothingThere + ", seen by " + self, nil
		}
	}
	return whoThawed(self, thawed+more, words), nil
}

// whoThawed says who did: this one itself, which has found so many containers
// frozen, or others that have left word.
func whoThawed(self string, found int, words []record.Word) string {
	others := ""
	for _, w := range words {
		if w.By == self {
			found++ // before it was started again
		} else if others == "" {
			others = w.String()
		}
	}
	switch {
	case others != "" && found > 0:
		return "thawed by " + self + " and " + others
	case others != "":
		return "thawed by " + others + ", seen by " + self
	case found > 0:
		return "thawed by " + self
	}
	return "nothing was frozen any more, seen by " + self
}

// thawRest thaws a pod's containers of which there is no record (any more).
func thawRest(ctx context.Context, node cgroup.Node, podUID string) (thawed int, err error) {
	containers, err := node.Containers(podUID)
	if err != nil {
		return 0, err
	}
	for _, c := range containers {
		found, err := thawOne(ctx, node, c)
		if found {
			thawed++
		}
		if err != nil {
			return thawed, err
		}
	}
	return thawed, nil
}

// endFor is how long thawing may take before the agent gives up and leaves it to
// its guard and to the next agent; the pod's grace period is longer.
const endFor = 15 * time.Second

package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	authentication "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"understudy.dev/understudy/test/e2e/cluster"
)

// operator is what the chart calls the deployment and its account.
const operator = "understudy-operator"

// Outside is an operator in the place of the installed one, which is scaled to
// zero meanwhile: the same program with the same account's rights and flags, but a
// process of this machine, that reaches the API server by way of a proxy.
type Outside struct {
	// Proxy is its way to the API server.
	Proxy *Proxy

	cluster *cluster.Cluster
	folder  string
	flags   []string
	said    lockedBuffer
	// kill ends the one that runs, and restarts none; ended is closed then.
	kill  context.CancelFunc
	ended chan struct{}

	mu sync.Mutex
	// crash ends the one that runs, and returns when it has.
	crash func()
}

// pause is what it is given before it is started again that has ended by itself,
// as one does that could not renew its lease.
const pause = time.Second

// NewOutside takes the installed operator's place, with nobody in it yet.
func NewOutside(ctx context.Context, c *cluster.Cluster) (*Outside, error) {
	if !c.Own {
		return nil, ErrElsewhere
	}
	installed, err := c.Client.AppsV1().Deployments(cluster.OperatorNamespace).Get(ctx, operator, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the installed operator: %w", err)
	}
	seconds := int64(3600)
	token, err := c.Client.CoreV1().ServiceAccounts(cluster.OperatorNamespace).CreateToken(ctx, operator,
		&authentication.TokenRequest{Spec: authentication.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("asking for the operator's token: %w", err)
	}
	account := rest.AnonymousClientConfig(c.REST)
	account.BearerToken = token.Status.Token
	o := &Outside{cluster: c}
	if o.Proxy, err = NewProxy(account); err != nil {
		return nil, err
	}
	if o.folder, err = os.MkdirTemp("", "understudy-outside-"); err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	kubeconfig, err := o.Proxy.Kubeconfig(cluster.OperatorNamespace)
	if err == nil {
		err = os.WriteFile(o.kubeconfig(), kubeconfig, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("writing the operator's kubeconfig: %w", err)
	}
	for _, flag := range installed.Spec.Template.Spec.Containers[0].Args {
		if !strings.HasPrefix(flag, "--metrics-bind-address") && !strings.HasPrefix(flag, "--health-probe-bind-address") {
			o.flags = append(o.flags, strings.ReplaceAll(flag, "$(POD_NAMESPACE)", cluster.OperatorNamespace))
		}
	}
	return o, o.scale(ctx, 0)
}

func (o *Outside) kubeconfig() string { return filepath.Join(o.folder, "kubeconfig") }

func (o *Outside) scale(ctx context.Context, replicas int32) error {
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	_, err := o.cluster.Client.AppsV1().Deployments(cluster.OperatorNamespace).Patch(ctx, operator, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("scaling the installed operator to %d: %w", replicas, err)
	}
	return o.cluster.Available(ctx, cluster.OperatorNamespace, operator, replicas)
}

// Start starts a program as the operator, in an environment, and waits until it
// leads. Until Kill it is started again when it has ended, as the kubelet does.
func (o *Outside) Start(ctx context.Context, program string, environment ...string) error {
	o.Kill()
	since := time.Now()
	args := append([]string{"--kubeconfig=" + o.kubeconfig(), "--metrics-bind-address=0", "--health-probe-bind-address=0", "--leader-identity=outside"}, o.flags...)
	life, kill := context.WithCancel(context.WithoutCancel(ctx))
	begin := func() (wait func(), err error) {
		cmd := exec.CommandContext(life, program, args...) // which kills it, as a crash would
		cmd.Env = environment
		cmd.Stdout, cmd.Stderr = &o.said, &o.said
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		gone := make(chan struct{})
		o.mu.Lock()
		defer o.mu.Unlock()
		o.crash = func() {
			_ = cmd.Process.Kill() // it may have ended
			<-gone
		}
		return func() {
			_ = cmd.Wait() // how it ended it has said
			close(gone)
		}, nil
	}
	wait, err := begin()
	if err != nil {
		kill()
		return fmt.Errorf("starting %s: %w", program, err)
	}
	ended := make(chan struct{})
	o.kill, o.ended = kill, ended
	go func() {
		defer close(ended)
		for err == nil {
			wait()
			select {
			case <-life.Done():
				return
			case <-time.After(pause):
			}
			wait, err = begin()
		}
		fmt.Fprintf(&o.said, "starting %s again: %v\n", program, err)
	}()
	waiting := cluster.Until(ctx, func(ctx context.Context) error {
		// Its own clock writes the lease; that it writes is enough.
		lease, err := o.cluster.Client.CoordinationV1().Leases(cluster.OperatorNamespace).Get(ctx, operator, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, entry := range lease.ManagedFields {
			if entry.Time != nil && entry.Time.After(since.Truncate(time.Second)) && lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity == "outside" {
				return nil
			}
		}
		return errors.New("it does not lead")
	})
	if waiting != nil {
		return fmt.Errorf("waiting for the operator outside of the cluster: %w\n%s", waiting, o.said.String())
	}
	return nil
}

// Kill kills it, as a crash would, and nobody starts it again.
func (o *Outside) Kill() {
	if o.kill == nil {
		return
	}
	o.kill()
	<-o.ended
	o.kill = nil
}

// Crash kills it and returns when it has ended; it is started again a moment later.
func (o *Outside) Crash() {
	o.mu.Lock()
	crash := o.crash
	o.mu.Unlock()
	crash()
}

// Said is what it has written.
func (o *Outside) Said() string { return o.said.String() }

// Close gives the place back.
func (o *Outside) Close(ctx context.Context) error {
	o.Kill()
	o.Proxy.Close()
	return errors.Join(o.scale(ctx, 1), os.RemoveAll(o.folder))
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

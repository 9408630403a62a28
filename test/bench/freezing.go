package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/node"
	"understudy.dev/understudy/test/e2e/workload"
)

const (
	// frozenPod is a bare pod whose kubelet asks each second whether it lives.
	frozenPod = "http"
	// floorPod is made on its node and is no agent.
	floorPod = "privileged"
	// agents is the namespace that the chart makes for agents on nodes.
	agents = "understudy-agents"
	// freezes is how often the pod is frozen and thawed.
	freezes = 7
)

// pause is all that is timed about freezing a pod.
type pause struct {
	privilegedReady, privilegedStopped, write sample

	running, confirmed, thawed, cleared sample
	steps                               steps
}

// freezing measures a pod's way into the freezer and out of it.
func (b *bench) freezing(ctx context.Context) error {
	if !b.cluster.Own {
		b.notes = append(b.notes, "Freezing was not measured: its moments are read from the kernel, and this cluster's is not this machine's.")
		return nil
	}
	pod, err := b.podToFreeze(ctx)
	if err != nil {
		return fmt.Errorf("freezing: %w", err)
	}
	p := &pause{steps: steps{}}
	for i := range freezes {
		b.say("freezing and thawing, %d of %d", i+1, freezes)
		if err := b.freezeOnce(ctx, pod, p); err != nil {
			return fmt.Errorf("freezing and thawing: %w", err)
		}
	}
	b.rows = append(b.rows,
		row{"exec --pause to local process running", "a privileged pod on that node to Ready", p.running, p.privilegedReady, seconds, above(0.3)},
		row{"freeze asked to confirmed in the kernel", "one write to the freezer's file", p.confirmed, p.write, milliseconds, within(0.01)},
		row{"local process ends to thawed", "delete that privileged pod until it stopped", p.thawed, p.privilegedStopped, milliseconds, nil},
		row{"local process ends to no rule left", "delete that privileged pod until it stopped", p.cleared, p.privilegedStopped, milliseconds, nil},
	)
	b.notes = append(b.notes, fmt.Sprintf("exec --pause, counted from the command (floor: Ready %s):%s local process %s.", seconds.of(p.privilegedReady.median()),
		p.steps.of(understudy.ConditionRecorded, understudy.ConditionClaimed, understudy.ConditionFrozen, understudy.ConditionReady), seconds.of(p.running.median())))
	return nil
}

func (b *bench) podToFreeze(ctx context.Context) (*core.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := workload.Apply(ctx, b.cluster, b.namespace, "probed", workload.Options{Probes: []string{frozenPod}}); err != nil {
		return nil, err
	}
	var pod *core.Pod
	err := cluster.Until(ctx, func(ctx context.Context) (err error) {
		if pod, err = b.cluster.Client.CoreV1().Pods(b.namespace).Get(ctx, frozenPod, metav1.GetOptions{}); err != nil {
			return err
		}
		if !podReady(map[types.UID]core.Pod{pod.UID: *pod}) {
			return errors.New("the pod to freeze is not Ready")
		}
		return nil
	})
	return pod, err
}

// freezeOnce takes the floors, and then freezes and thaws by a session.
func (b *bench) freezeOnce(ctx context.Context, pod *core.Pod, p *pause) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it took more than %s", patience))
	defer cancel()
	container, err := node.Open(pod, pod.Spec.Containers[0].Name)
	if err != nil {
		return err
	}
	defer container.Close()
	took, err := container.WriteOnce()
	if err != nil {
		return err
	}
	p.write.times(took)
	if err := b.privileged(ctx, pod.Spec.NodeName, p); err != nil {
		return fmt.Errorf("a privileged pod: %w", err)
	}
	return b.pauseOnce(ctx, container, p)
}

// privileged makes a pod with the rights and the readiness probe of an agent on
// a node, which does nothing, and deletes it.
func (b *bench) privileged(ctx context.Context, nodeName string, p *pause) error {
	image, err := workload.Image()
	if err != nil {
		return err
	}
	pods := b.cluster.Client.CoreV1().Pods(b.namespace)
	view, err := b.followPods(ctx, "app="+floorPod)
	if err != nil {
		return err
	}
	defer view.stop()
	began := time.Now()
	if _, err := pods.Create(ctx, privilegedPod(image, nodeName), metav1.CreateOptions{}); err != nil {
		return err
	}
	at, err := view.until(ctx, "it to be Ready", podReady)
	if err != nil {
		return err
	}
	p.privilegedReady.times(at.Sub(began))
	began = time.Now()
	if err := pods.Delete(ctx, floorPod, metav1.DeleteOptions{}); err != nil {
		return err
	}
	if at, err = view.until(ctx, "it to stop", stopped(floorPod)); err != nil {
		return err
	}
	p.privilegedStopped.times(at.Sub(began))
	_, err = view.until(ctx, "it to be gone", func(pods map[types.UID]core.Pod) bool { return len(pods) == 0 })
	return err
}

func privilegedPod(image, nodeName string) *core.Pod {
	return &core.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: floorPod, Labels: map[string]string{"app": floorPod}},
		Spec: core.PodSpec{
			NodeName: nodeName, HostPID: true, AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false),
			Containers: []core.Container{{
				Name: floorPod, Image: image, Command: []string{"/probe", "serve"},
				SecurityContext: &core.SecurityContext{Privileged: new(true), RunAsUser: new(int64(0))},
				ReadinessProbe: &core.Probe{
					ProbeHandler:  core.ProbeHandler{Exec: &core.ExecAction{Command: []string{"/probe", "get", "http://127.0.0.1:8080/"}}},
					PeriodSeconds: 1, TimeoutSeconds: 1, FailureThreshold: 1,
				},
			}},
		},
	}
}

// pauseOnce freezes the pod by a session, and ends it.
func (b *bench) pauseOnce(ctx context.Context, container *node.Container, p *pause) error {
	following, stop := context.WithCancel(ctx)
	defer stop()
	reached, err := b.followSteps(following)
	if err != nil {
		return err
	}
	s, err := b.exec(ctx, "pod/"+frozenPod, "--pause")
	if err != nil {
		return err
	}
	defer s.run.Kill()
	p.running.times(s.player.Started.Sub(s.asked))
	p.steps.add(reached, s.asked)
	if !container.Frozen() {
		return errors.New("the local process runs, and the kernel does not say that the container is frozen")
	}
	session, err := b.cluster.SessionUntil(ctx, b.namespace, cluster.HasCondition(understudy.ConditionReady))
	if err != nil {
		return err
	}
	took, err := b.tookToFreeze(ctx, session.Status.Agent.PodName)
	if err != nil {
		return err
	}
	p.confirmed.times(took)
	var thawed, cleared, ended time.Time
	err = both(
		func() (err error) { ended, err = s.player.End(ctx); return err },
		func() (err error) {
			thawed, err = soon(ctx, "the container to be thawed", func() (bool, error) { return !container.Frozen(), nil })
			if err != nil {
				return err
			}
			cleared, err = soon(ctx, "the rules to be gone", func() (bool, error) {
				rules, err := container.Rules()
				return len(rules) == 0, err
			})
			return err
		},
	)
	if err != nil {
		return err
	}
	p.thawed.times(thawed.Sub(ended))
	p.cleared.times(cleared.Sub(ended))
	return s.exit(ctx)
}

// tookToFreeze is what the agent has measured: from asking the kernel to its
// confirmation.
func (b *bench) tookToFreeze(ctx context.Context, agent string) (time.Duration, error) {
	log, err := b.cluster.Client.CoreV1().Pods(agents).GetLogs(agent, &core.PodLogOptions{}).DoRaw(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the agent's log: %w", err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(log)); lines.Scan(); {
		var entry struct{ Msg, Took string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "frozen" {
			return time.ParseDuration(entry.Took)
		}
	}
	return 0, fmt.Errorf("the agent does not say how long it took to freeze:\n%s", log)
}

// soon returns the moment at which the kernel, which has no watch for it, said
// that it is so. It is asked each millisecond.
func soon(ctx context.Context, what string, is func() (bool, error)) (time.Time, error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if yes, err := is(); err != nil || yes {
			return time.Now(), err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
		}
	}
}

package main

import (
	"context"
	"fmt"
	"time"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
)

// changes is how often the workload changes hands there and back, and each time
// the floors are taken too.
const changes = 7

// handover is all that is timed about taking the place of the workload.
type handover struct {
	bareReady, bareStopped, toZero, toThree sample

	running                          sample
	standInStopped, patched          sample
	patchedAfterStop, availableAfter sample
	steps                            steps
}

// takeOver measures the way there and back.
func (b *bench) takeOver(ctx context.Context) error {
	h := &handover{steps: steps{}}
	for i := range changes {
		b.say("changing over and back, %d of %d", i+1, changes)
		if err := b.handOver(ctx, h); err != nil {
			return fmt.Errorf("changing over and back: %w", err)
		}
	}
	there := make(sample, changes)
	for i := range there {
		there[i] = h.bareReady[i] + h.toZero[i]
	}
	b.rows = append(b.rows,
		row{"exec to local process running, copy + scale down", "bare pod to Ready, then scale to 0 until over", h.running, there, seconds, above(0.3)},
		row{"local process ends to agent stopped", "delete the bare pod until it stopped", h.standInStopped, h.bareStopped, seconds, nil},
		row{"agent stopped to replicas patched", "", h.patchedAfterStop, nil, milliseconds, within(0.1)},
		row{"agent stopped to pods available", "scale by the API and wait until available", h.availableAfter, h.toThree, seconds, above(0.2)},
	)
	note := fmt.Sprintf("exec, counted from the command (floor: Ready %s, then over %s):", seconds.of(h.bareReady.median()), seconds.of(h.toZero.median()))
	note += h.steps.of(understudy.ConditionRecorded, understudy.ConditionClaimed, understudy.ConditionStandInReady, understudy.ConditionHeld, understudy.ConditionReady)
	note += fmt.Sprintf(" local process %s. End: replicas patched %s after the local process ended.", seconds.of(h.running.median()), seconds.of(h.patched.median()))
	b.notes = append(b.notes, note)
	return nil
}

// handOver goes there and back once by hand, and once by a session.
func (b *bench) handOver(ctx context.Context, h *handover) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it took more than %s", patience))
	defer cancel()
	if err := b.cluster.Available(ctx, b.namespace, target, replicas); err != nil {
		return err
	}
	if err := b.byHand(ctx, h); err != nil {
		return fmt.Errorf("by hand: %w", err)
	}
	if err := b.cluster.Available(ctx, b.namespace, target, replicas); err != nil {
		return err
	}
	return b.bySession(ctx, h)
}

// byHand takes the floors.
func (b *bench) byHand(ctx context.Context, h *handover) error {
	pods := b.cluster.Client.CoreV1().Pods(b.namespace)
	d, err := b.cluster.Client.AppsV1().Deployments(b.namespace).Get(ctx, target, metav1.GetOptions{})
	if err != nil {
		return err
	}
	bare, err := b.followPods(ctx, "app=bare")
	if err != nil {
		return err
	}
	defer bare.stop()
	began := time.Now()
	_, err = pods.Create(ctx, &core.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "bare", Labels: map[string]string{"app": "bare"}},
		Spec:       *d.Spec.Template.Spec.DeepCopy(),
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making a bare pod: %w", err)
	}
	at, err := bare.until(ctx, "the bare pod to be Ready", podReady)
	if err != nil {
		return err
	}
	h.bareReady.times(at.Sub(began))

	old, err := b.followPods(ctx, "app="+target)
	if err != nil {
		return err
	}
	defer old.stop()
	began = time.Now()
	if err := b.scale(ctx, 0); err != nil {
		return err
	}
	if at, err = old.until(ctx, "the pods to be over", over); err != nil {
		return err
	}
	h.toZero.times(at.Sub(began))
	if err := b.cluster.Available(ctx, b.namespace, target, 0); err != nil {
		return err
	}

	deployment, err := b.followDeployment(ctx, target)
	if err != nil {
		return err
	}
	defer deployment.Stop()
	began = time.Now()
	if err := b.scale(ctx, replicas); err != nil {
		return err
	}
	if at, err = wait(ctx, deployment, "the replicas to be available", available(replicas)); err != nil {
		return err
	}
	h.toThree.times(at.Sub(began))

	began = time.Now()
	if err := pods.Delete(ctx, "bare", metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("deleting the bare pod: %w", err)
	}
	if at, err = bare.until(ctx, "the bare pod to stop", stopped(target)); err != nil {
		return err
	}
	h.bareStopped.times(at.Sub(began))
	_, err = bare.until(ctx, "the bare pod to be gone", func(pods map[types.UID]core.Pod) bool { return len(pods) == 0 })
	return err
}

func (b *bench) scale(ctx context.Context, replicas int) error {
	_, err := b.cluster.Client.AppsV1().Deployments(b.namespace).Patch(ctx, target, types.MergePatchType,
		fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas), metav1.PatchOptions{}, "scale")
	if err != nil {
		return fmt.Errorf("scaling to %d: %w", replicas, err)
	}
	return nil
}

// bySession does the same with understudy exec.
func (b *bench) bySession(ctx context.Context, h *handover) error {
	following, stop := context.WithCancel(ctx)
	defer stop()
	reached, err := b.followSteps(following)
	if err != nil {
		return err
	}
	s, err := b.exec(ctx, "deployment/"+target, "--copy-target", "--scale-down")
	if err != nil {
		return err
	}
	defer s.run.Kill()
	h.running.times(s.player.Started.Sub(s.asked))
	h.steps.add(reached, s.asked)

	standIn, err := b.followPods(ctx, understudy.SessionLabel)
	if err != nil {
		return err
	}
	defer standIn.stop()
	number, err := b.followDeployment(ctx, target)
	if err != nil {
		return err
	}
	defer number.Stop()
	deployment, err := b.followDeployment(ctx, target)
	if err != nil {
		return err
	}
	defer deployment.Stop()
	var gone, patched, back time.Time
	var ended time.Time
	err = both(
		func() (err error) { ended, err = s.player.End(ctx); return err },
		func() (err error) { gone, err = standIn.until(ctx, "the agent to stop", stopped(target)); return err },
		func() (err error) {
			patched, err = wait(ctx, number, "the replicas to be patched", wishes(replicas))
			return err
		},
		func() (err error) {
			back, err = wait(ctx, deployment, "the replicas to be back", available(replicas))
			return err
		},
	)
	if err != nil {
		return err
	}
	h.standInStopped.times(gone.Sub(ended))
	h.patched.times(patched.Sub(ended))
	h.patchedAfterStop.times(patched.Sub(gone))
	h.availableAfter.times(back.Sub(gone))
	return s.exit(ctx)
}

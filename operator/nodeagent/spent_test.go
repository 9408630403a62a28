package nodeagent

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A pod is given up only where nothing is lost with it: neither a proof nor what
// may have been frozen.
func TestSpent(t *testing.T) {
	status := func(phase corev1.PodPhase, state ...corev1.ContainerState) corev1.PodStatus {
		s := corev1.PodStatus{Phase: phase, Reason: "OutOfpods"}
		for _, state := range state {
			s.ContainerStatuses = append(s.ContainerStatuses, corev1.ContainerStatus{Name: AgentContainer, State: state})
		}
		return s
	}
	ended := func(code int32) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}
	}
	for name, test := range map[string]struct {
		pod    *corev1.Pod
		status corev1.PodStatus
		want   bool
	}{
		"it was rejected":                   {Thaw(forTest), status(corev1.PodFailed), true},
		"it was thrown out":                 {Thaw(forTest), status(corev1.PodFailed, ended(137)), true},
		"it was thrown out, and has proved": {Thaw(forTest), status(corev1.PodFailed, ended(0)), false},
		"it has thawed":                     {Thaw(forTest), status(corev1.PodSucceeded, ended(0)), false},
		"it is tried again":                 {Thaw(forTest), status(corev1.PodRunning, ended(1)), false},
		"nothing is said of it":             {Thaw(forTest), corev1.PodStatus{}, false},
		"one that freezes was rejected":     {Pod(forTest), status(corev1.PodFailed), false},
	} {
		test.pod.Status = test.status
		if got := Spent(test.pod); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRetry(t *testing.T) {
	var got []time.Duration
	for spent := 1; spent <= 8; spent++ {
		got = append(got, Retry(spent)/time.Second)
	}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("the pauses are %v s, want %v s", got, want)
		}
	}
	if Retry(0) != time.Second || Retry(1000) != time.Minute {
		t.Errorf("after none %v, after many %v", Retry(0), Retry(1000))
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/developer"
	"understudy.dev/understudy/test/e2e/fault"
	"understudy.dev/understudy/test/e2e/laptop"
)

// clockOff is where the programs of `run off` read by how many seconds their
// clock is off.
const clockOff = "UNDERSTUDY_TEST_CLOCK"

func off(by time.Duration) string { return clockOff + "=" + strconv.Itoa(int(by.Seconds())) }

// as plays a case as another developer, and answers how to be the usual one
// again.
func (s *stage) as(kubeconfig []byte, program string) (*developer.Developer, func(), error) {
	dev, err := s.machine.Developer(kubeconfig)
	if err != nil {
		return nil, nil, err
	}
	usual, usualProgram := s.dev, s.program
	s.dev, s.program = dev, program
	return dev, func() { s.dev, s.program = usual, usualProgram }, nil
}

// onLaptop moves the developer to a network of their own.
func onLaptop(_ context.Context, s *stage) (func() error, error) {
	at, err := url.Parse(s.cluster.REST.Host)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's address: %w", err)
	}
	network, err := laptop.New(at.Host)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := s.user.Kubeconfig(s.namespace, network.Server())
	if err != nil {
		return nil, err
	}
	dev, back, err := s.as(kubeconfig, s.program)
	if err != nil {
		return nil, err
	}
	dev.Network, s.road = network, network
	return func() error { back(); return network.Close() }, nil
}

func cut(_ context.Context, s *stage, _ *developer.Run) error { return s.road.Cut() }

func mend(_ context.Context, s *stage, _ *developer.Run) error { return s.road.Mend() }

// behindProxies puts a proxy before the API server for the developer; the
// operator outside of the cluster has its own.
func behindProxies(_ context.Context, s *stage) (func() error, error) {
	proxy, err := fault.NewProxy(s.user.REST())
	if err != nil {
		return nil, err
	}
	kubeconfig, err := proxy.Kubeconfig(s.namespace)
	if err != nil {
		return nil, err
	}
	_, back, err := s.as(kubeconfig, s.program)
	if err != nil {
		return nil, err
	}
	s.proxies = []*fault.Proxy{proxy, s.outside.Proxy}
	return func() error {
		back()
		s.outside.Proxy.Set(fault.Passes)
		proxy.Close()
		return nil
	}, nil
}

func answers(answer fault.Answer) func(context.Context, *stage, *developer.Run) error {
	return func(_ context.Context, s *stage, _ *developer.Run) error {
		for _, p := range s.proxies {
			p.Set(answer)
		}
		return nil
	}
}

func conflicting(ctx context.Context, s *stage) (func() error, error) {
	undo, err := behindProxies(ctx, s)
	if err == nil {
		err = answers(fault.Conflicts)(ctx, s, nil)
	}
	return undo, err
}

// passes ends the proxies' failing. That of the operator must have failed
// something.
func passes(_ context.Context, s *stage, _ *developer.Run) error {
	failed := 0
	for _, p := range s.proxies {
		failed += p.Set(fault.Passes)
	}
	if failed == 0 {
		return fault.ErrNoFault
	}
	return nil
}

// operatorOff kills the operator, and the next one has another clock.
func operatorOff(by time.Duration) func(context.Context, *stage, *developer.Run) error {
	return func(ctx context.Context, s *stage, _ *developer.Run) error {
		s.ownClock = false
		return s.outside.Start(ctx, filepath.Join(os.Getenv("CHAOS_OFF"), "understudy-operator-off"), off(by))
	}
}

// developerOff gives the developer a tool with another clock.
func developerOff(by time.Duration) func(context.Context, *stage) (func() error, error) {
	return func(_ context.Context, s *stage) (func() error, error) {
		kubeconfig, err := s.user.Kubeconfig(s.namespace, "")
		if err != nil {
			return nil, err
		}
		dev, back, err := s.as(kubeconfig, "understudy-off")
		if err != nil {
			return nil, err
		}
		dev.Environment = []string{off(by)}
		return func() error { back(); return nil }, nil
	}
}

// place has the operator where the case needs it: in the cluster, or outside with
// the right clock.
func (s *stage) place(ctx context.Context, outside bool) (err error) {
	if !outside {
		if s.outside != nil {
			err = s.outside.Close(ctx)
			s.outside = nil
		}
		return err
	}
	if s.outside == nil {
		if s.outside, err = fault.NewOutside(ctx, s.cluster); err != nil {
			return err
		}
		s.ownClock = false
	}
	if s.ownClock {
		return nil
	}
	s.ownClock = true
	return s.outside.Start(ctx, filepath.Join(os.Getenv("E2E_BIN"), "understudy-operator"))
}

// drain drains the node of the stand-in, but for the broker: its messages would
// go with it.
func drain(ctx context.Context, s *stage, _ *developer.Run) error {
	err := cluster.Until(ctx, func(ctx context.Context) error {
		pods, err := s.cluster.Client.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: understudy.SessionLabel})
		if err != nil {
			return fmt.Errorf("looking for the stand-in: %w", err)
		}
		if len(pods.Items) == 0 || pods.Items[0].Spec.NodeName == "" {
			return errors.New("there is no stand-in on a node")
		}
		s.drained = pods.Items[0].Spec.NodeName
		return nil
	})
	if err != nil {
		return err
	}
	return fault.Drain(ctx, s.cluster, s.drained, func(pod core.Pod) bool {
		worker := pod.Namespace == s.namespace && pod.Labels["app"] == "worker"
		return !worker && pod.Namespace != cluster.OperatorNamespace
	})
}

func (s *stage) undrain(ctx context.Context) error {
	if s.drained == "" {
		return nil
	}
	err := fault.Undrain(ctx, s.cluster, s.drained)
	s.drained = ""
	return err
}

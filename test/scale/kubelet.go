package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// nodes that the pods are said to be on.
const nodes = 100

func nodeName(i int) string { return fmt.Sprintf("node-%d", i%nodes) }

// kubelet plays the scheduler and the kubelets of all nodes: pods run at once,
// and end at once. Nothing runs. Each node has a line of its own, as kubelets do not
// wait for each other; the scheduler has one more.
type kubelet struct {
	api    kubernetes.Interface
	pods   cache.SharedIndexInformer
	queues map[string]line
}

type line = workqueue.TypedRateLimitingInterface[string]

func newLine() line {
	return workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](50*time.Millisecond, 5*time.Second))
}

// hands are how many pods of one node are written at the same time, and binds how many
// the scheduler binds.
const (
	hands = 2
	binds = 16
)

// nodeOf spreads pods over the nodes by their names.
func nodeOf(pod *corev1.Pod) string {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(pod.Namespace + "/" + pod.Name)) // never fails
	return nodeName(int(sum.Sum32()))
}

func newKubelet(ctx context.Context, config *rest.Config) (*kubelet, error) {
	config = rest.CopyConfig(config)
	config.ContentType = "application/vnd.kubernetes.protobuf"
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making the kubelets' client: %w", err)
	}
	for i := range nodes {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName(i)}}
		if node, err = api.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
			return nil, fmt.Errorf("making a node: %w", err)
		}
		node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
		if _, err := api.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
			return nil, fmt.Errorf("making a node ready: %w", err)
		}
	}
	k := &kubelet{api: api, pods: informers.NewSharedInformerFactory(api, 0).Core().V1().Pods().Informer(), queues: map[string]line{}}
	k.queues[""] = newLine() // of no node yet: the scheduler's
	for i := range nodes {
		k.queues[nodeName(i)] = newLine()
	}
	add := func(object any) {
		if pod, ok := object.(*corev1.Pod); ok {
			k.queues[pod.Spec.NodeName].Add(pod.Namespace + "/" + pod.Name)
		}
	}
	_, err = k.pods.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, object any) { add(object) }})
	if err != nil {
		return nil, fmt.Errorf("watching pods: %w", err)
	}
	return k, nil
}

func (k *kubelet) run(ctx context.Context) {
	var group sync.WaitGroup
	group.Go(func() { k.pods.Run(ctx.Done()) })
	for node, queue := range k.queues {
		n := hands
		if node == "" {
			n = binds
		}
		for range n {
			group.Go(func() { k.work(ctx, queue) })
		}
	}
	<-ctx.Done()
	for _, queue := range k.queues {
		queue.ShutDown()
	}
	group.Wait()
}

// work brings on the pods of one line until it is shut down.
func (k *kubelet) work(ctx context.Context, queue line) {
	for {
		key, over := queue.Get()
		if over {
			return
		}
		if err := k.move(ctx, key); err != nil && ctx.Err() == nil {
			queue.AddRateLimited(key)
		} else {
			queue.Forget(key)
		}
		queue.Done(key)
	}
}

// move brings one pod a step on.
func (k *kubelet) move(ctx context.Context, key string) error {
	object, found, err := k.pods.GetStore().GetByKey(key)
	if err != nil || !found {
		return err
	}
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return nil
	}
	pods := k.api.CoreV1().Pods(pod.Namespace)
	switch {
	case pod.Spec.NodeName == "":
		return pods.Bind(ctx, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: nodeOf(pod)}}, metav1.CreateOptions{})
	case pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodRunning:
		return k.write(ctx, pod, corev1.PodRunning, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}})
	case pod.DeletionTimestamp != nil && pod.Status.Phase != corev1.PodSucceeded:
		return k.write(ctx, pod, corev1.PodSucceeded, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.Now()}})
	case pod.DeletionTimestamp != nil:
		now := int64(0)
		return pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &pod.UID}})
	}
	return nil
}

func (k *kubelet) write(ctx context.Context, pod *corev1.Pod, phase corev1.PodPhase, state corev1.ContainerState) error {
	pod = pod.DeepCopy()
	pod.Status.Phase, pod.Status.ContainerStatuses = phase, nil
	ready := corev1.ConditionFalse
	if state.Running != nil {
		ready = corev1.ConditionTrue
	}
	for _, c := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, ImageID: c.Image, State: state, Ready: state.Running != nil})
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	_, err := k.api.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return err
}

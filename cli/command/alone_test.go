package command

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
	"understudy.dev/understudy/operator/nodeagent"
)

// TestScriptAlone: the command line against a real API server in whose cluster
// Understudy is not installed. The node is played: it gets no image, and lets go of
// what is deleted.
func TestScriptAlone(t *testing.T) {
	config := apitest.Bare(t)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	node, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() { defer close(stopped); playNode(node, client) }()
	t.Cleanup(func() { stop(); <-stopped })
	testscript.Run(t, testscript.Params{
		Dir: "testdata/alone",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"apply": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(apply(t.Context(), config, ts.ReadFile(args[0])))
			},
			"make-agent": func(ts *testscript.TestScript, _ bool, args []string) {
				name, err := makeAgent(t.Context(), client, args[1], args[2], args[3], args[4])
				ts.Check(err)
				ts.Setenv(args[0], name)
			},
			"node-waits": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(playThawing(t.Context(), client, args[0], corev1.ContainerState{
					Waiting: &corev1.ContainerStateWaiting{Reason: args[1], Message: args[2]},
				}))
			},
			"thawing-gone": func(ts *testscript.TestScript, _ bool, args []string) {
				pod, err := thawing(t.Context(), client, args[0])
				ts.Check(err)
				if pod != nil {
					ts.Fatalf("pod %s is left", pod.Name)
				}
			},
			"node-thaws": func(ts *testscript.TestScript, _ bool, args []string) {
				code, err := strconv.Atoi(args[1])
				ts.Check(err)
				ts.Check(playThawing(t.Context(), client, args[0], corev1.ContainerState{
					Terminated: &corev1.ContainerStateTerminated{ExitCode: int32(code), Message: args[2]},
				}))
			},
			"agents-left": func(ts *testscript.TestScript, _ bool, args []string) {
				left := 0
				for _, namespace := range args[1:] { // others are other scripts'
					pods, err := client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.SessionUIDLabel})
					ts.Check(err)
					secrets, err := client.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.SessionUIDLabel})
					ts.Check(err)
					left += len(pods.Items) + len(secrets.Items)
				}
				if strconv.Itoa(left) != args[0] {
					ts.Fatalf("%d pods and secrets of agents are left", left)
				}
			},
		},
		Setup: func(env *testscript.Env) error {
			file := filepath.Join(env.WorkDir, "kubeconfig")
			env.Setenv("KUBECONFIG", file)
			raw := clientcmdapi.NewConfig()
			raw.Clusters["c"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
			for _, user := range []string{"", "joan"} {
				raw.AuthInfos["user"+user] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Impersonate: user}
				raw.Contexts[user] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "user" + user, Namespace: "default"}
			}
			raw.Contexts["admin"] = raw.Contexts[""]
			delete(raw.Contexts, "")
			raw.CurrentContext = "admin"
			return clientcmd.WriteToFile(*raw, file)
		},
	})
}

// makeAgent makes the agent that somebody's machine would make for a pod, and plays
// that it has frozen it.
func makeAgent(ctx context.Context, client kubernetes.Interface, namespace, name, agents, owner string) (string, error) {
	pod, err := client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	agent, err := client.CoreV1().Pods(agents).Create(ctx, nodeagent.Solo(nodeagent.SoloOptions{
		Namespace: agents, Session: types.UID("of-" + name), Owner: owner, Image: "x", Target: pod, Container: "app",
	}), metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	agent.Status.Phase = corev1.PodRunning
	agent.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: nodeagent.AgentContainer, Image: "x", ImageID: "x", Ready: true, ContainerID: "containerd://" + name,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
	}}
	_, err = client.CoreV1().Pods(agents).UpdateStatus(ctx, agent, metav1.UpdateOptions{})
	return agent.Name, err
}

// playThawing waits for the agent that only thaws in a namespace, and plays that its
// container is in that state.
func playThawing(ctx context.Context, client kubernetes.Interface, namespace string, state corev1.ContainerState) error {
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		pod, err := thawing(ctx, client, namespace)
		if pod == nil || err != nil {
			return false, err
		}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: pod.Spec.Containers[0].Name, Image: "x", ImageID: "x", State: state}}
		_, err = client.CoreV1().Pods(namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
		return err == nil, err
	})
}

// thawing is the agent that only thaws in a namespace, or nil. There is no kubelet
// that lets one go that is deleted.
func thawing(ctx context.Context, client kubernetes.Interface, namespace string) (*corev1.Pod, error) {
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=understudy"})
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(pods.Items, func(pod corev1.Pod) bool {
		return strings.HasPrefix(pod.Name, "thaw-") && pod.DeletionTimestamp == nil
	})
	if i < 0 {
		return nil, nil
	}
	return &pods.Items[i], nil
}

// playNode is the kubelet of a node that gets no image whose name says so.
func playNode(ctx context.Context, client kubernetes.Interface) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
		pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.SessionUIDLabel})
		if err != nil {
			continue
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			switch {
			case pod.DeletionTimestamp != nil && len(pod.Status.ContainerStatuses) > 0 && pod.Status.ContainerStatuses[0].State.Running != nil:
				// An agent that is asked to end thaws, and says so.
				pod.Status.ContainerStatuses[0].Ready = false
				pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ContainerID: pod.Status.ContainerStatuses[0].ContainerID, Message: "thawed"}}
				_, _ = client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{}) // it is tried again
			case pod.DeletionTimestamp != nil:
				_ = client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, *metav1.NewDeleteOptions(0))
			case len(pod.Status.ContainerStatuses) == 0 && strings.Contains(pod.Spec.Containers[0].Image, "missing"):
				pod.Status.Phase = corev1.PodPending
				pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
					Name: pod.Spec.Containers[0].Name, Image: "x", ImageID: "x",
					State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "no such image"}},
				}}
				_, _ = client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{}) // it is tried again
			}
		}
	}
}

// TestOthersImage: the other tool's agent is nothing to make a privileged pod of.
func TestOthersImage(t *testing.T) {
	for image, refused := range map[string]bool{
		"ghcr.io/metalbear-co/mirrord:3.1": true, "registry.example:5000/mirrord": true, "mirrord@sha256:00": true,
		"registry.example/mirrord/agent:1": false, "registry.example/agent:mirrord": false,
	} {
		if _, err := imageOf(&config.Config{AgentImage: image}); (err != nil) != refused {
			t.Errorf("%s: %v", image, err)
		}
	}
}

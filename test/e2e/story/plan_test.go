package story

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/workload"
)

// around is what a team has beside its worker: an autoscaler, and another workload
// with the worker's own configuration.
const around = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: worker}
spec:
  minReplicas: 3
  maxReplicas: 5
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: worker}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: audit}
spec:
  replicas: 1
  selector: {matchLabels: {app: audit}}
  template:
    metadata: {labels: {app: audit}}
    spec:
      containers:
        - name: audit
          image: IMAGE
          command: [/worker, --site=audit]
          envFrom: [{configMapRef: {name: worker}}]
          resources: {requests: {cpu: 10m, memory: 16Mi}}
`

// planned is what a program reads of a plan.
type planned struct {
	Kind, Target string
	Blocked      bool
	Replicas     struct{ Now, Meanwhile, AtEnd int }
	Pods         []string
	Findings     []struct{ Code, Severity, Says string }
	Unseen       []struct{ What, Why string }
}

// codes are those of one severity.
func (p planned) codes(severity string) []string {
	var found []string
	for _, f := range p.Findings {
		if f.Severity == severity {
			found = append(found, f.Code)
		}
	}
	return found
}

// plan types `understudy plan` for the worker, and reads what it is for programs.
func (s *scene) plan(wantCode int) planned {
	s.Helper()
	run := s.run("understudy", "plan", "-t", "deployment/worker", "--copy-target", "--scale-down", "-o", "json", "--", "worker", "--site=local")
	s.exits(run, wantCode)
	var p planned
	if err := json.Unmarshal([]byte(run.Out.String()), &p); err != nil {
		s.Fatalf("reading the plan: %v in %s", err, run)
	}
	return p
}

// I ask what would happen before I take the shop's worker: I am told which pods
// end and come back, that the team's quota is in my way, and who else may read
// from the queue. Nothing is changed by that.
func TestPlan(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.broker()
	s.start("worker", workload.Options{Replicas: 3})
	image, err := workload.Image()
	s.must(err)
	s.must(theCluster.Apply(s.ctx, "team", s.namespace, []byte(strings.ReplaceAll(around, "IMAGE", image))))
	s.must(theCluster.Available(s.within(patience), s.namespace, "audit", 1))
	full := s.fullQuota()
	// A colleague may make pods, besides.
	colleague := s.newUser("maker-" + s.namespace)
	s.grant(colleague, s.namespace)
	s.must(theCluster.Grant(s.ctx, colleague, s.namespace, "edit"))
	before := s.remember("worker", 3)
	version := s.version("worker")

	// In text, as I would read it.
	run := s.run("understudy", "plan", "-t", "deployment/worker", "--copy-target", "--scale-down", "--", "worker", "--site=local")
	s.exits(run, 2)
	for _, want := range []string{
		"3 pods of deployment/worker are scaled to zero: worker-",
		"3 replicas of deployment/worker are put back",
		"In your way:\n  - quota team has no room for the stand-in beside the target (pods: " + full + " of " + full + " are used",
		"deployment/audit may read from the same queue, and goes on: it shares configmap worker",
		"HorizontalPodAutoscaler worker rests while the target is at 0 replicas",
		"admission was not asked whether it takes the stand-in (you may not create pods)",
	} {
		// Lines are broken anywhere.
		if text := strings.Join(strings.Fields(run.Out.String()), " "); !strings.Contains(text, strings.Join(strings.Fields(want), " ")) {
			t.Errorf("the plan does not say %q:\n%s", want, run.Out)
		}
	}

	// And for a program. I have the chart's own role, by which all can be looked at
	// that bounds a pod here.
	p := s.plan(2)
	_, pods := s.replicas("worker")
	slices.Sort(p.Pods)
	if p.Kind != "Plan" || !p.Blocked || p.Replicas.Now != 3 || p.Replicas.Meanwhile != 0 || p.Replicas.AtEnd != 3 || !slices.Equal(p.Pods, pods) {
		t.Errorf("planned as %+v, the pods are %v", p, pods)
	}
	if got := p.codes("blocks"); !slices.Equal(got, []string{"QuotaExceeded"}) {
		t.Errorf("in the way: %v", got)
	}
	if len(p.Unseen) > 0 {
		t.Errorf("not seen: %v", p.Unseen)
	}

	// My colleague has the API server itself asked.
	s.dev = s.developer(colleague, nil)
	if got := s.plan(2).codes("blocks"); !slices.Equal(got, []string{"AdmissionDenied"}) {
		t.Errorf("in the way of who may make pods: %v", got)
	}
	s.must(theCluster.Client.CoreV1().ResourceQuotas(s.namespace).Delete(s.ctx, "team", metav1.DeleteOptions{}))
	if p := s.plan(0); p.Blocked || slices.Contains(p.codes("notes"), "AdmissionUntried") {
		t.Errorf("planned as %+v without the quota", p)
	}

	// Nothing was changed by any of it: the workload is the very same version, and
	// nothing is there that was not.
	s.unchanged(before)
	if now := s.version("worker"); now != version {
		t.Errorf("deployment worker is of version %s, not of %s", now, version)
	}
}

// fullQuota makes a quota of as many pods as there are, and waits until they are
// counted.
func (s *scene) fullQuota() string {
	s.Helper()
	list, err := theCluster.Client.CoreV1().Pods(s.namespace).List(s.ctx, metav1.ListOptions{})
	s.must(err)
	pods := *resource.NewQuantity(int64(len(list.Items)), resource.DecimalSI)
	quotas := theCluster.Client.CoreV1().ResourceQuotas(s.namespace)
	_, err = quotas.Create(s.ctx, &core.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "team"}, Spec: core.ResourceQuotaSpec{Hard: core.ResourceList{core.ResourcePods: pods}},
	}, metav1.CreateOptions{})
	s.must(err)
	s.must(cluster.Until(s.within(patience), func(ctx context.Context) error {
		quota, err := quotas.Get(ctx, "team", metav1.GetOptions{})
		if used := quota.Status.Used[core.ResourcePods]; err == nil && used.Cmp(pods) != 0 {
			err = fmt.Errorf("the quota counts %s of %s pods", used.String(), pods.String())
		}
		return err
	}))
	return pods.String()
}

// version changes with every write to a deployment.
func (s *scene) version(name string) string {
	s.Helper()
	d, err := theCluster.Client.AppsV1().Deployments(s.namespace).Get(s.ctx, name, metav1.GetOptions{})
	s.must(err)
	return d.ResourceVersion
}

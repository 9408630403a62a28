package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/solo"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
)

// agentImage is the agent's image of a release.
const agentImage = "understudy.dev/understudy-agent:"

// imageOf is the image of the agent that goes with this program.
func imageOf(c *config.Config) (string, error) {
	if othersImage(c.AgentImage) {
		return "", failure.New("leave out --agent-image, or agent.image: the agent of this release is taken then", "%s is the image of mirrord's agent, which is another program", c.AgentImage)
	}
	if c.AgentImage != "" {
		return c.AgentImage, nil
	}
	version := strings.TrimPrefix(release(), "v")
	if version == "development" || version == "unknown" {
		return "", failure.New("name one with --agent-image: it is what `make images` makes, where the node can pull it", "this understudy is of no release, and no image of an agent goes with it")
	}
	return agentImage + version, nil
}

// planAlone asks what there is to ask before a pod is frozen with the user's own
// rights.
func planAlone(ctx context.Context, client *session.Client, c *config.Config, t *target.Target, owner v1alpha1.Owner) (*solo.Plan, error) {
	image, err := imageOf(c)
	if err != nil {
		return nil, err
	}
	return solo.Check(ctx, client, t, solo.Options{Namespace: c.AgentNamespace, Image: image, Owner: holder(owner), Wishes: wishes(c.Agent)})
}

// wishes are what a configuration says of an agent's pod that no operator makes.
func wishes(a config.Agent) nodeagent.Wishes {
	w := nodeagent.Wishes{
		Labels: a.Labels, Annotations: a.Annotations, PriorityClass: a.PriorityClass, ServiceAccount: a.ServiceAccount,
		Resources:  session.AgentPod(a, false).Resources,
		PullPolicy: corev1.PullPolicy(a.PullPolicy), PullSecrets: a.ImagePullSecrets,
	}
	localhost := func(name string) *string {
		if name == "" {
			return nil
		}
		return &name
	}
	if of := a.AppArmor; of.Type != "" {
		w.AppArmor = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileType(of.Type), LocalhostProfile: localhost(of.Localhost)}
	}
	if of := a.Seccomp; of.Type != "" {
		w.Seccomp = &corev1.SeccompProfile{Type: corev1.SeccompProfileType(of.Type), LocalhostProfile: localhost(of.Localhost)}
	}
	return w
}

// idle is what has no effect of what was said about the agent's pod, and was not told
// before it was known who makes that pod.
func idle(c *config.Config, takeover config.Takeover, alone bool) []string {
	return slices.DeleteFunc(c.AgentNotices(takeover, !alone), func(notice string) bool { return slices.Contains(c.Notices, notice) })
}

// createAlone makes the agent with the user's own rights. Waiting is interrupted,
// making is left when hurry is done.
// What was asked for and not finished then is nobody's once the time for setting up
// is over.
func (p *performance) createAlone(ctx, hurry context.Context, spec v1alpha1.SessionSpec) error {
	p.made.Store(true)
	step := p.out.Step("making an agent on node " + p.plan.Node())
	defer step.Done("")
	type result struct {
		session *solo.Session
		err     error
	}
	results := make(chan result, 1)
	go func() {
		made, err := p.plan.Make(ctx, spec, step.Wait)
		results <- result{made, err}
	}()
	var r result
	select {
	case r = <-results:
	case <-hurry.Done():
		return p.left(context.Cause(hurry))
	}
	if r.err != nil {
		return p.early(ctx, r.err)
	}
	p.alone, p.follow = r.session, r.session.Follow()
	state, _ := p.follow.State()
	p.session = state.Session
	step.Done(fmt.Sprintf("made an agent on node %s, in namespace %s", p.plan.Node(), p.session.Namespace))
	p.out.Detail("it is pod %s/%s of image %s", p.session.Namespace, p.session.Name, p.alone.Image())
	return nil
}

// silence is how long this machine may not have been heard of, by who counts the
// lease.
func (p *performance) silence() time.Duration {
	if p.alone != nil {
		return p.alone.Silence()
	}
	return p.renew.Silence()
}

// undo ends the session and waits until everything is undone.
func (p *performance) undo(ctx context.Context, waits func(string)) (session.State, error) {
	if p.alone != nil {
		return p.alone.End(ctx, waits)
	}
	return p.client.End(ctx, p.follow, waits)
}

// leftAlone is the error of leaving before the agent was seen to have thawed.
func (p *performance) leftAlone(err error) error {
	code := failure.CodeOwn
	var by interrupted
	if errors.As(err, &by) {
		code = failure.CodeSignal + int(by.signal)
	}
	within, where := fmt.Sprintf("thaws by itself, within %s at the latest", p.opts.Config.Lease), ""
	if !p.begun() {
		within = fmt.Sprintf("does nothing when the %s for setting up are over by a minute; begun before, it %s", p.opts.Config.SetupTimeout, within)
	}
	if p.session != nil {
		where = fmt.Sprintf("; see: kubectl get pod %s -n %s", p.session.Name, p.session.Namespace)
	}
	return &failure.Failure{
		What: fmt.Sprintf("left before %s was seen to be thawed", p.target), Code: code, Err: plain(err),
		Hint: fmt.Sprintf("its agent %s%s\nwhere it does not: understudy thaw --pod %s -n %s", within, where, p.target.Name, p.client.Namespace),
	}
}

// begun says whether the agent is known to have frozen.
func (p *performance) begun() bool {
	if p.follow == nil {
		return false
	}
	state, _ := p.follow.State()
	return state.Is(v1alpha1.ConditionFrozen)
}

// othersImage says whether an image is of the other tool's agent, as somebody's flags
// of before name it.
func othersImage(image string) bool {
	name, _, _ := strings.Cut(image, "@")
	name = name[strings.LastIndex(name, "/")+1:]
	name, _, _ = strings.Cut(name, ":")
	return name == "mirrord" || name == "mirrord-agent" || strings.Contains(image, "metalbear-co/")
}

package session

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	rbacv1ac "k8s.io/client-go/applyconfigurations/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/clone"
	"understudy.dev/understudy/operator/hold"
)

// incarnation is one stand-in to be made: everything of it has the number in
// its name, so that a second try finds what the first one made.
type incarnation struct {
	number   int32
	pod      *corev1.Pod
	report   clone.Report
	delivery v1alpha1.AgentDelivery
}

func podName(session string, number int32) string {
	return fmt.Sprintf("%s-standin-%d", session, number)
}

func secretName(session string, number int32) string {
	return fmt.Sprintf("%s-agent-%d", session, number)
}

func grantName(session string) string { return "understudy-" + session }

// equip makes what the stand-in needs before it is there: the key in its
// Secret, the owner's right to reach exactly that pod, and the key's
// fingerprint in the status.
func (v *visit) equip(ctx context.Context, in incarnation) error {
	var fingerprint string
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		fingerprint, err = v.makeKey(groupCtx, in)
		return err
	})
	group.Go(func() error { return v.grant(groupCtx, in.pod.Name) })
	if err := group.Wait(); err != nil {
		return err
	}
	v.status().Agent = &v1alpha1.Agent{
		Incarnation: in.number, PodName: in.pod.Name, Port: int32(in.report.AgentPort), CertificateFingerprint: fingerprint,
		Delivery: in.delivery,
	}
	v.status().Selector = v1alpha1.SessionLabel + "=" + v.session.Name
	return v.save(ctx)
}

// errNumberTaken says that there is a Secret of that number already: of an
// attempt that was interrupted, or somebody's own. It is not read and not
// touched; the next number is taken.
var errNumberTaken = errors.New("the stand-in's number is taken")

// makeKey makes the agent's key pair and configuration, and answers the public
// key's fingerprint.
func (v *visit) makeKey(ctx context.Context, in incarnation) (string, error) {
	keyPEM, fingerprint, err := settings.NewKey()
	if err != nil {
		return "", err
	}
	config, err := v.agentConfig(in.report)
	if err != nil {
		return "", err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: secretName(v.session.Name, in.number), Namespace: v.session.Namespace,
			Labels:          map[string]string{v1alpha1.SessionLabel: v.session.Name},
			OwnerReferences: []metav1.OwnerReference{v.ownerReference()},
		},
		Data: map[string][]byte{settings.KeyFile: keyPEM, settings.ConfigFile: config},
	}
	err = v.Writer.Create(ctx, secret, client.FieldOwner(hold.FieldManager))
	if apierrors.IsAlreadyExists(err) {
		return "", errNumberTaken
	}
	if err != nil {
		return "", fmt.Errorf("making the agent's secret: %w", refused(err))
	}
	return fingerprint, nil
}

func (v *visit) agentConfig(report clone.Report) ([]byte, error) {
	clientKey, err := base64.StdEncoding.DecodeString(v.session.Spec.ClientKey)
	if err != nil {
		return nil, final(v1alpha1.ReasonStandInRefused, "the session's client key is not base64: %v", err)
	}
	config := settings.Config{
		Session: string(v.session.UID), Port: report.AgentPort, ClientKey: clientKey,
		LeaseSeconds: int(v.leaseDuration() / time.Second),
		Ports:        report.Ports, ListenAll: v.session.Spec.ListenAll,
		Mounts: clone.Paths(report.Mounts), ServicePorts: report.ServicePorts,
		ShareTraffic: v.takesTraffic(),
	}
	if err := config.Validate(); err != nil {
		return nil, final(v1alpha1.ReasonStandInRefused, "the agent would not take its configuration: %v", err)
	}
	data, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("encoding the agent's configuration: %w", err)
	}
	return data, nil
}

func (v *visit) takesTraffic() bool { return v.scalesDown() || v.session.Spec.ShareTraffic }

// grant lets the owner renew the Lease and reach exactly the present stand-in;
// no stand-in is an empty name.
func (v *visit) grant(ctx context.Context, pod string) error {
	name, namespace := grantName(v.session.Name), v.session.Namespace
	owner := metav1ac.OwnerReference().WithAPIVersion(v1alpha1.GroupVersion.String()).WithKind("Session").
		WithName(v.session.Name).WithUID(v.session.UID).WithController(true)
	labels := map[string]string{v1alpha1.SessionLabel: v.session.Name}
	role := rbacv1ac.Role(name, namespace).WithLabels(labels).WithOwnerReferences(owner).WithRules(
		rbacv1ac.PolicyRule().WithAPIGroups("coordination.k8s.io").WithResources("leases").WithResourceNames(v.session.Name).WithVerbs("get", "update", "patch"),
	)
	if pod != "" {
		role = role.WithRules(rbacv1ac.PolicyRule().WithAPIGroups("").WithResources("pods/portforward").WithResourceNames(pod).WithVerbs("get", "create"))
	}
	binding := rbacv1ac.RoleBinding(name, namespace).WithLabels(labels).WithOwnerReferences(owner).
		WithRoleRef(rbacv1ac.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind("Role").WithName(name)).
		WithSubjects(rbacv1ac.Subject().WithAPIGroup(rbacv1.GroupName).WithKind(rbacv1.UserKind).WithName(v.session.Spec.Owner.Username))
	if err := v.Writer.Apply(ctx, role, client.FieldOwner(hold.FieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("granting the owner the way to the stand-in: %w", err)
	}
	if err := v.Writer.Apply(ctx, binding, client.FieldOwner(hold.FieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("binding the owner to the grant: %w", err)
	}
	return nil
}

// refused makes what admission and validation say no to a final error: quota,
// Pod Security, LimitRange, other policies.
func refused(err error) error {
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
		var status apierrors.APIStatus
		if errors.As(err, &status) {
			return final(v1alpha1.ReasonStandInRefused, "the API server refused the stand-in: %s", status.Status().Message)
		}
	}
	return err
}

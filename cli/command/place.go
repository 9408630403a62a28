package command

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/output"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/config"
)

// place is where a command looks, as its flags say.
type place struct {
	config.Config
	// all namespaces are meant.
	all bool
}

// flags adds those that say which cluster is meant, and which namespace; of is
// what is looked for there.
func (p *place) flags(cmd *cobra.Command, of string) {
	cmd.Flags().StringVarP(&p.Namespace, "target-namespace", "n", "", "namespace of the "+of+" (default: the kubeconfig's)")
	cmd.Flags().StringVar(&p.Context, "context", "", "context of the kubeconfig (default: the current one)")
	cmd.Flags().StringVar(&p.Kubeconfig, "kubeconfig", "", "kubeconfig file (default: $KUBECONFIG, then ~/.kube/config)")
	completeFlag(cmd, "context", contexts)
	completeFlag(cmd, "target-namespace", namespaces)
}

// allFlag lets all namespaces be meant.
func (p *place) allFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&p.all, "all-namespaces", "A", false, "look in all namespaces that you may read")
}

// client reaches the place.
func (p *place) client() (*session.Client, *rest.Config, error) {
	if p.all && p.Namespace != "" {
		return nil, nil, failure.New("leave out one of both", "-A means all namespaces, and -n %s one", p.Namespace)
	}
	client, reach, err := connect(&p.Config)
	if err == nil && p.all {
		client, err = session.NewClient(reach, "")
	}
	return client, reach, err
}

// where is the place in a sentence.
func (p *place) where(client *session.Client) string {
	if p.all {
		return "in any namespace"
	}
	return "in namespace " + client.Namespace
}

// patience is how long a cluster has to answer a command that only looks.
func patience(ctx context.Context, reach *rest.Config) (context.Context, context.CancelFunc) {
	limit := prepareFor
	if reach.ExecProvider != nil {
		limit = signInFor
	}
	return context.WithTimeout(ctx, limit)
}

// outputFlag adds -o.
func outputFlag(cmd *cobra.Command, format *output.Format) {
	cmd.Flags().VarP(format, "output", "o", output.Forms)
	completeWords(cmd, "output", output.Names...)
}

// documentFlag adds -o where one thing is found.
func documentFlag(cmd *cobra.Command, form *output.Document) {
	cmd.Flags().VarP(form, "output", "o", output.Documents)
	completeWords(cmd, "output", output.DocumentNames...)
}

// ago is a time as people read it, "5m"; empty for none.
func ago(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return age(max(time.Since(at), 0))
}

package command

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/output"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/config"
)

// place is where a command looks, as flags, variables and the file say.
type place struct {
	config.Config
	// all namespaces are meant.
	all bool
	// found is how far a file is trusted that nobody named.
	found config.Found
}

// flags adds those that say which cluster is meant, and which namespace; of is
// what is looked for there.
func (p *place) flags(cmd *cobra.Command, of string) {
	config.ClusterFlags(cmd.Flags())
	config.FileFlags(cmd.Flags())
	cmd.Flags().Lookup("target-namespace").Usage = "namespace of the " + of + ", --namespace too (default: the kubeconfig's)"
	completeFlag(cmd, "context", contexts)
	completeFlag(cmd, "target-namespace", namespaces)
}

// read finds out which place is meant. What else is wrong with the file keeps
// nobody from looking, and is a remark.
func (p *place) read(cmd *cobra.Command) error {
	c, aside, err := config.Place(cmd.Flags(), p.found)
	p.Config = *c
	if err != nil {
		return &failure.Failure{Err: err, Hint: strings.TrimPrefix(failure.Hint(err)+"; without a file: -f none", "; ")}
	}
	if p.all && cmd.Flags().Changed("target-namespace") {
		return failure.New("leave out one of both", "-A means all namespaces, and -n %s one", p.Namespace)
	}
	if p.File != "" {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "configuration: %s\n", p.File)
	}
	if len(aside) > 0 {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "notice: exec would not take this configuration; what is wrong with it is said by: understudy config verify\n")
	}
	return nil
}

// allFlag lets all namespaces be meant.
func (p *place) allFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&p.all, "all-namespaces", "A", false, "look in all namespaces that you may read")
}

// client reads which place is meant, and reaches it.
func (p *place) client(cmd *cobra.Command) (*session.Client, *rest.Config, error) {
	if err := p.read(cmd); err != nil {
		return nil, nil, err
	}
	return p.reached()
}

// reached reaches a place that was read.
func (p *place) reached() (*session.Client, *rest.Config, error) {
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
	cmd.Flags().VarP(format, "output", "o", format.Usage())
	completeWords(cmd, "output", format.Forms()...)
}

// ago is a time as people read it, "5m"; empty for none.
func ago(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return age(max(time.Since(at), 0))
}

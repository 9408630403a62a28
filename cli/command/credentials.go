package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"golang.org/x/term"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/config"
)

// signIn lets a credential plugin that insists on a terminal (interactiveMode:
// Always) ask what it has to ask while there is one: later the terminal is the
// local process's alone. What the plugin remembers of it serves from then on.
func signIn(ctx context.Context, c *config.Config) error {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return nil // the keeper, or nobody who could be asked
	}
	client, reach, err := connect(c)
	if err != nil {
		return err
	}
	if reach.ExecProvider == nil || reach.ExecProvider.InteractiveMode != clientcmdapi.AlwaysExecInteractiveMode {
		return nil
	}
	if _, err := client.Username(ctx); err != nil {
		return unanswered(reach, err, nothingChanged)
	}
	return nil
}

// withoutTerminal has a credential plugin run without a terminal that would
// else be refused for the lack of one: it has had its turn in signIn.
func withoutTerminal(reach *rest.Config) {
	if plugin := reach.ExecProvider; plugin != nil && plugin.InteractiveMode == clientcmdapi.AlwaysExecInteractiveMode {
		plugin.InteractiveMode = clientcmdapi.IfAvailableExecInteractiveMode
	}
}

// noCredentials begins the text of client-go's error for a credential plugin
// that failed, which has no type.
const noCredentials = "getting credentials: "

// nothingChanged is said where a session was asked for and not begun.
const nothingChanged = "; nothing was changed"

// unanswered gives a hint to an error of the way to the API server, or of who
// somebody is there; others pass. Unchanged follows what went wrong: what that
// means for the cluster.
func unanswered(reach *rest.Config, err error, unchanged string) error {
	var of *url.Error
	var op net.Error
	cause := err
	if errors.As(err, &of) {
		cause = of.Err
	}
	switch {
	case apierrors.IsUnauthorized(err):
		return failure.New("have they expired? Sign in again; this tells whether they work: kubectl auth whoami",
			"the cluster at %s does not accept your credentials%s", reach.Host, unchanged)
	case reach.ExecProvider != nil && strings.HasPrefix(cause.Error(), noCredentials):
		return failure.New("it cannot ask you anything while understudy runs: sign in with another command, as kubectl auth whoami, then run this again",
			"the credential plugin of your kubeconfig gives no credentials%s: %s", unchanged, strings.TrimPrefix(cause.Error(), noCredentials))
	case errors.Is(err, context.DeadlineExceeded):
		cause = errors.New("no answer")
	case of == nil && !errors.As(err, &op):
		return err
	}
	return &failure.Failure{
		What: fmt.Sprintf("the cluster at %s cannot be reached%s", reach.Host, unchanged), Err: cause,
		Hint: "is it the right context? See: kubectl config current-context",
	}
}

package command

import (
	"io"

	"github.com/spf13/cobra"

	"understudy.dev/understudy/cli/failure"
)

// shell is one that can complete, with how it loads the script.
type shell struct {
	name, long, example string
	write               func(root *cobra.Command, to io.Writer, descriptions bool) error
}

var shells = []shell{
	{
		name: "bash",
		long: `Prints the script for bash 4.1 or newer. It takes the package bash-completion, which
most systems have; where Tab does nothing, install that first.`,
		example: `  # In this shell
  source <(understudy completion bash)

  # In every one from now on
  mkdir -p ~/.local/share/bash-completion/completions
  understudy completion bash > ~/.local/share/bash-completion/completions/understudy

  # For all users of this machine, and with Homebrew
  understudy completion bash | sudo tee /etc/bash_completion.d/understudy >/dev/null
  understudy completion bash > "$(brew --prefix)/etc/bash_completion.d/understudy"

  # For a shorter name too
  alias us=understudy; complete -o default -F __start_understudy us`,
		write: func(root *cobra.Command, to io.Writer, descriptions bool) error {
			return root.GenBashCompletionV2(to, descriptions)
		},
	},
	{
		name: "zsh",
		long: `Prints the script for zsh. Completion has to be switched on before, as most
configurations do; where not, ~/.zshrc needs: autoload -U compinit; compinit`,
		example: `  # In this shell
  source <(understudy completion zsh)

  # In every one from now on: a folder of one's own, named in ~/.zshrc before compinit
  # by fpath=(~/.zfunc $fpath)
  mkdir -p ~/.zfunc
  understudy completion zsh > ~/.zfunc/_understudy

  # With Homebrew
  understudy completion zsh > "$(brew --prefix)/share/zsh/site-functions/_understudy"`,
		write: func(root *cobra.Command, to io.Writer, descriptions bool) error {
			if descriptions {
				return root.GenZshCompletion(to)
			}
			return root.GenZshCompletionNoDesc(to)
		},
	},
	{
		name: "fish",
		long: `Prints the script for fish.`,
		example: `  # In this shell
  understudy completion fish | source

  # In every one from now on
  understudy completion fish > ~/.config/fish/completions/understudy.fish`,
		write: func(root *cobra.Command, to io.Writer, descriptions bool) error {
			return root.GenFishCompletion(to, descriptions)
		},
	},
	{
		name: "powershell",
		long: `Prints the script for PowerShell 5 or newer.`,
		example: `  # In this shell
  understudy completion powershell | Out-String | Invoke-Expression

  # In every one from now on
  understudy completion powershell >> $PROFILE`,
		write: func(root *cobra.Command, to io.Writer, descriptions bool) error {
			if descriptions {
				return root.GenPowerShellCompletionWithDesc(to)
			}
			return root.GenPowerShellCompletion(to)
		},
	},
}

// NewCmdCompletion prints what shells complete with.
func NewCmdCompletion(f *Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "completion",
		Short: "Print a script that lets a shell complete commands, targets and namespaces",
		Long: `Prints a script for bash, zsh, fish or powershell. With it the Tab key completes
commands and flags, and from the cluster what they take: targets and their
containers, sessions, namespaces, pods and nodes; contexts from the kubeconfig.

How each shell loads its own in every session is in the help of that one.

What is typed as "kubectl understudy" is completed by kubectl (1.26 or newer, with
its own completion loaded), which asks a program kubectl_complete-understudy: a link
of that name to this program is enough, in a folder of $PATH.`,
		Example: `  # In this shell: bash, zsh, fish, PowerShell
  source <(understudy completion bash)
  source <(understudy completion zsh)
  understudy completion fish | source
  understudy completion powershell | Out-String | Invoke-Expression

  # kubectl understudy, and its completion by kubectl
  ln -s "$(command -v understudy)" ~/.local/bin/kubectl-understudy
  ln -s "$(command -v understudy)" ~/.local/bin/kubectl_complete-understudy`,
		Args: shellName,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, s := range shells {
		var bare bool
		sub := &cobra.Command{
			Use: s.name, Short: "Print the script for " + s.name, Long: s.long, Example: s.example,
			Args:              noArguments,
			ValidArgsFunction: cobra.NoFileCompletions,
			RunE:              func(cmd *cobra.Command, _ []string) error { return s.write(cmd.Root(), f.Out, !bare) },
		}
		sub.Flags().BoolVar(&bare, "no-descriptions", false, "complete words alone, without what they mean")
		withUsageErrors(sub)
		cmd.AddCommand(sub)
	}
	return cmd
}

func shellName(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return failure.New("there are bash, fish, powershell and zsh", "there is no completion for %q", args[0])
	}
	return nil
}

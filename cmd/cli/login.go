package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"berth/cmd/credentials"
	"berth/cmd/ui"
	"berth/engine/api"
)

type loginOptions struct {
	registry   string
	user       string
	password   string
	fromStdin  bool
	typed      bool   // the password was given as a flag
	configured string // folder of docker's configuration
}

func newLoginCommand(a *app) *cobra.Command {
	var o loginOptions
	cmd := &cobra.Command{
		Use:     "login [OPTIONS] [REGISTRY]",
		PreRunE: a.noDryRun,
		Short:   "Log in to a registry",
		Long: "Log in to a registry; without a name, to Docker Hub. The login is checked, and kept in Docker's configuration\n" +
			"(DOCKER_CONFIG, else ~/.docker): in config.json, or by the credential helper that it names.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.registry = args[0]
			}
			o.typed = cmd.Flags().Changed("password")
			folder, err := a.credentialsFolder()
			if err != nil {
				return err
			}
			o.configured = folder
			ctx, end := a.interruptible(cmd.Context())
			defer end()
			if err := o.complete(ctx, a.ui); err != nil {
				return err
			}
			e, err := a.connect(ctx)
			if err != nil {
				return err
			}
			defer e.Close()
			return runLogin(ctx, o, e, a.ui)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	f.StringVarP(&o.user, "username", "u", "", "the user's name")
	f.StringVarP(&o.password, "password", "p", "", "password or token; others on this host can see it")
	f.BoolVar(&o.fromStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

// credentialsFolder is where docker's configuration is.
func (a *app) credentialsFolder() (string, error) {
	dir := a.dockerConfig()
	if dir == "" {
		return "", &ui.Problem{Text: "there is no place to keep logins: neither DOCKER_CONFIG nor HOME is set", Way: "set DOCKER_CONFIG to a folder"}
	}
	return dir, nil
}

// complete gets what was not given as a flag.
func (o *loginOptions) complete(ctx context.Context, u *ui.UI) error {
	switch {
	case o.typed && o.fromStdin:
		return &ui.Problem{Text: "login: --password and --password-stdin exclude each other"}
	case o.fromStdin && o.user == "":
		return &ui.Problem{Text: "login: --password-stdin needs --username"}
	case o.fromStdin:
		b, err := io.ReadAll(u.In())
		if err != nil {
			return fmt.Errorf("login: read the password: %w", err)
		}
		o.password = strings.TrimRight(string(b), "\r\n")
		return nil
	case o.typed:
		u.Warn("others on this host can see a password given with --password; --password-stdin hides it")
	}
	if (o.user == "" || !o.typed) && !u.CanAsk() {
		return &ui.Problem{Text: "login: there is no terminal to ask for user and password at", Way: "give --username, and the password on standard input with --password-stdin"}
	}
	var err error
	if o.user == "" {
		if o.user, err = u.AskText(ctx, "Username:"); err != nil {
			return err
		}
	}
	if !o.typed {
		o.password, err = u.AskSecret(ctx, "Password:")
	}
	return err
}

func runLogin(ctx context.Context, o loginOptions, e Engine, u *ui.UI) error {
	r, err := e.Login(ctx, &api.LoginRequest{Host: o.registry, User: o.user, Secret: o.password})
	if err != nil {
		return err
	}
	helper, err := credentials.Save(o.configured, r.Host, credentials.Login{User: o.user, Secret: o.password, IdentityToken: r.IdentityToken})
	if err != nil {
		return err
	}
	if helper == "" {
		u.Note("the login is kept unencrypted in " + filepath.Join(o.configured, "config.json") + ", readable by its owner only")
	}
	return u.Printf("Login Succeeded\n")
}

func newLogoutCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "logout [REGISTRY]",
		PreRunE: a.noDryRun,
		Short:   "Forget the login to a registry",
		Long:    "Forget the login to a registry; without a name, to Docker Hub.",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			folder, err := a.credentialsFolder()
			if err != nil {
				return err
			}
			registry := ""
			if len(args) > 0 {
				registry = args[0]
			}
			return runLogout(folder, registry, a.ui)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			folder, err := a.credentialsFolder()
			if err != nil || len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			names, _ := credentials.List(folder) // completion has nowhere to say what went wrong
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

func runLogout(folder, registry string, u *ui.UI) error {
	name := credentials.Key(registry)
	err := credentials.Remove(folder, registry)
	if errors.Is(err, errdefs.ErrNotFound) {
		return u.Printf("Not logged in to %s\n", name)
	}
	if err != nil {
		return err
	}
	return u.Printf("Removed the login to %s\n", name)
}

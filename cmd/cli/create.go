package cli

import "github.com/spf13/cobra"

func newCreateCommand(a *app) *cobra.Command {
	o := upOptions{noStart: true}
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] [SERVICE...]",
		Short: "Create containers without starting them",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			o.services = args
			return a.up(cmd, &o)
		},
		ValidArgsFunction: a.completeServices,
	}
	a.addCreationFlags(cmd, &o.creation)
	return cmd
}

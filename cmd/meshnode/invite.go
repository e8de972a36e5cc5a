package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

func newInvite(a *app) *cobra.Command {
	var o node.InviteOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Make a token that lets one more node in",
		Long: `Make a token that lets one more node in. The last line of the output is the token.

Whoever has the token can join the mesh once, until it expires, with the roles
that it names: submit work, work (run it), store blocks, admin (invite others
and cancel their jobs). Pass it on as you would a password.`,
		Example: `meshnode invite
# a node that may run tasks and store blocks, but not submit
meshnode invite --roles work,store --for 1h
# on the other machine
meshnode start --join TOKEN`,
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkInvite(cmd, o); err != nil {
				return err
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			token, err := c.Invite(cmd.Context(), o)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), struct {
					Token string `json:"token"`
				}{token})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	cmd.Flags().StringSliceVar(&o.Roles, "roles", nil, "what the joiner may do: submit, work, store, admin (all of them)")
	o.For = 24 * time.Hour
	cmd.Flags().Var((*period)(&o.For), "for", "how long the token may be used, at most 90d")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func checkInvite(cmd *cobra.Command, o node.InviteOptions) error {
	if o.For <= 0 || o.For > protocol.MaxInviteValidity {
		return misuse(cmd, fmt.Errorf("--for takes a time above zero and up to %v, like 24h", protocol.MaxInviteValidity))
	}
	for _, role := range o.Roles {
		if !slices.Contains([]string{"submit", "work", "store", "admin"}, role) {
			return misuse(cmd, fmt.Errorf("unknown role %q: the roles are submit, work, store and admin", role))
		}
	}
	return nil
}

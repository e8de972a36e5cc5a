// Command embed runs two nodes in one program and maps a function over a slice.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/meshnode/meshnode/node"
)

func shout(_ context.Context, s string) (string, error) { return strings.ToUpper(s) + "!", nil }

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "embed-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	first, err := start(ctx, dir+"/one", "") // founds a mesh
	if err != nil {
		return err
	}
	defer first.Close()
	token, err := first.Invite(node.InviteOptions{})
	if err != nil {
		return err
	}
	second, err := start(ctx, dir+"/two", token)
	if err != nil {
		return err
	}
	defer second.Close()
	results, err := node.Map[string, string](ctx, second, "shout", []string{"many", "machines", "one", "mesh"})
	fmt.Println(results)
	return err
}

func start(ctx context.Context, dir, join string) (*node.Node, error) {
	n, err := node.New(node.Config{Dir: dir, Join: join, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Funcs: map[string]node.Func{"shout": node.MapFunc(shout)}})
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	select {
	case <-n.Ready():
	case err = <-ended:
	}
	return n, err
}

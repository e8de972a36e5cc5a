//go:build ignore

// A program that does what the first line of its input says.
package main

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

func main() {
	in := bufio.NewReader(os.Stdin)
	line, _ := in.ReadString('\n')
	what, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
	switch what {
	case "cat":
		io.Copy(os.Stdout, in)
	case "discard":
		n, _ := io.Copy(io.Discard, in)
		fmt.Println(n)
	case "random":
		b := make([]byte, 16)
		rand.Read(b)
		fmt.Println(time.Now().UnixNano(), time.Since(time.Time{}), b, os.Args, os.Environ())
	case "exit":
		fmt.Fprintln(os.Stderr, "leaving with", arg)
		os.Exit(int(arg[0] - '0'))
	case "panic":
		panic(arg)
	case "allocate":
		var all [][]byte
		for {
			all = append(all, make([]byte, 1<<20))
		}
	case "spin":
		fmt.Fprintln(os.Stderr, "spinning")
		for i := 0; ; i++ {
			_ = i
		}
	case "print":
		line := strings.Repeat("x", 99) + "\n"
		for {
			os.Stdout.WriteString(line)
		}
	case "log":
		for i := range 100000 {
			fmt.Fprintln(os.Stderr, "line", i)
		}
	case "file":
		b, err := os.ReadFile(arg)
		fmt.Println(string(b), err)
	case "list":
		entries, err := os.ReadDir("/")
		for _, e := range entries {
			info, _ := e.Info()
			fmt.Println(e.Name(), info.Size())
		}
		fmt.Println(err)
	}
}

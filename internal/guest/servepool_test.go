//go:build !linux

package guest

// servePoolIfAsked belongs to tests of what only Linux can do.
func servePoolIfAsked() {}

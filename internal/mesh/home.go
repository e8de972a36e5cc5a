package mesh

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/meshnode/meshnode/protocol"
)

// home is the folder of a node's keys and memory of the mesh. Its files are
// written whole and for the owner alone.
type home string

const (
	identityFile = "identity.key"
	meshKeyFile  = "mesh.key"    // the founder's only
	certFile     = "member.cert" // this node's chain
	rosterFile   = "members"     // chains of all known members: who spent which token
	bookFile     = "peers"       // their addresses
	portFile     = "port"        // of the last start

	maxHomeFile = 16 << 20 // a full roster
)

// read returns a file's content, or nil when there is none.
func (h home) read(name string) ([]byte, error) {
	path := filepath.Join(string(h), name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the node's directory: %w", err)
	}
	if info.Size() > maxHomeFile {
		return nil, fmt.Errorf("reading %s: %d bytes cannot be right; move the file away", path, info.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the node's directory: %w", err)
	}
	return b, nil
}

// write replaces a file so that a crash leaves the old or the new one. With
// sync it also survives the machine's crash.
func (h home) write(name string, b []byte, sync bool) (err error) {
	path := filepath.Join(string(h), name)
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w", path, err)
		}
	}()
	f, err := os.CreateTemp(string(h), "."+name+"-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil && sync {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// key loads a private key, or makes one; made tells which.
func (h home) key(name string) (key crypto.PrivKey, made bool, err error) {
	b, err := h.read(name)
	if err != nil {
		return nil, false, err
	}
	if b != nil {
		key, err := crypto.UnmarshalPrivateKey(b)
		if err != nil {
			return nil, false, fmt.Errorf("%s is not a key: %w; restore it from a backup, or remove it to become a new node", filepath.Join(string(h), name), err)
		}
		return key, false, nil
	}
	if key, _, err = crypto.GenerateEd25519Key(rand.Reader); err != nil {
		return nil, false, fmt.Errorf("making %s: %w", name, err)
	}
	if b, err = crypto.MarshalPrivateKey(key); err != nil {
		return nil, false, fmt.Errorf("making %s: %w", name, err)
	}
	return key, true, h.write(name, b, true)
}

// chain loads the node's own chain; nil when it is no member yet.
func (h home) chain() (*protocol.Chain, error) {
	b, err := h.read(certFile)
	if b == nil || err != nil {
		return nil, err
	}
	c, err := protocol.DecodeChain(b)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w; restore it from a backup, or remove it and join again with a new token", filepath.Join(string(h), certFile), err)
	}
	return c, nil
}

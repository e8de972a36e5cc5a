// Package mesh is one peer's place in a mesh: its identity and certificate,
// its libp2p host, who else is a member, who of them is alive, and how loaded
// they say they are.
//
// Enter it through [New], then [Mesh.Run]. Between the two, other packages set
// their stream handlers on [Mesh.Host]: nothing listens before Run. Every
// connection that the host has leads to a member, because strangers are
// dropped inside the secured handshake, before any stream opens.
//
// How it hangs together:
//   - roster: who may be here, a grow-only set of verified certificate chains;
//   - admission: the exchange of chains on every new connection;
//   - swim: the failure detector (hashicorp/memberlist) on libp2p streams;
//   - view: who is alive, from the failure detector, from closed connections
//     and from farewells;
//   - keeper: dials whoever should be connected and is not, for ever;
//   - gossip: load reports. They are hints.
//
// All methods of Mesh may be called from any goroutine. What they return is
// the caller's own. No method waits for the network, except Run and Close.
package mesh

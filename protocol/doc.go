// Package protocol is what peers say to each other: protocol IDs, messages,
// their encoding, their limits, and how what is signed is signed and checked.
//
// Enter it through [Manifest] (what a job is), [Receipt] (what a finished task
// is), [Offer], [Bid] and [Award] (how a task finds a worker), and [Encode] and
// [Decode], the one codec for everything that travels or gets a CID.
//
// The package does no input or output, keeps no state and starts no goroutine:
// every function may be called from any goroutine. Whatever Decode returns has
// been bounded; whatever a Check or Open function returns has also been
// verified. Nothing else that came from a peer may be trusted.
package protocol

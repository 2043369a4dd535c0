// Package client talks to the engine, and starts one if there is none.
//
// It owns the way to the socket: connecting, starting the engine as a process of its own (one
// starter wins when several try), and a method for each call of engine/api. It never imports
// containerd, so that the command line stays small. Entry point: Connect.
package client

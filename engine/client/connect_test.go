package client_test

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"google.golang.org/grpc"

	"berth/engine/client"
)

// An engine may answer on a connection and be killed at once. Connect doesn't wait for it, whatever it has seen of it.
func TestConnectToEnginesThatEndAtOnce(t *testing.T) {
	state := t.TempDir()
	socket := client.Socket(state)
	for range 300 {
		listener, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		go server.Serve(endsAtOnce{listener, server})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		c, err := client.Connect(ctx, client.Config{State: state, Root: state, NoStart: true})
		if ctx.Err() != nil {
			t.Fatalf("Connect waits for an engine that is gone: %v", err)
		}
		if err == nil {
			c.Close()
		}
		cancel()
		server.Stop()
		os.Remove(socket)
	}
}

// endsAtOnce is a listener whose server ends when a client has just been told that it is there.
type endsAtOnce struct {
	net.Listener
	server *grpc.Server
}

func (l endsAtOnce) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		go func() {
			time.Sleep(time.Duration(time.Now().UnixNano()%200) * time.Microsecond)
			l.server.Stop()
		}()
	}
	return conn, err
}

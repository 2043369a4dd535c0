package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// serve answers:
//
//	/            "I am HOSTNAME"
//	/address     the address that the request came to, and the one it came from
//	/env/NAME    a variable
//	/file/PATH   a file
//	/exit/CODE   "exiting", and the process exits with CODE
//	/get?url=    what another server answers
//	/resolve/N   the addresses of a name
//	/health      200, or 503 while the file /tmp/unhealthy is there
//	/big?bytes=N N bytes
func serve(args []string) error {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	var servers []*http.Server
	failed := make(chan error, len(args))
	for _, address := range args {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		fmt.Println("serving", address)
		s := &http.Server{Handler: handler()}
		servers = append(servers, s)
		go func() { failed <- s.Serve(l) }()
	}
	select {
	case err := <-failed:
		return err
	case <-stop.Done():
	}
	fmt.Println("stopping")
	end, cancelEnd := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancelEnd()
	for _, s := range servers {
		_ = s.Shutdown(end) // connections that are still open then end with the process
	}
	return nil
}

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "I am", hostname())
	})
	mux.HandleFunc("/address", func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		fmt.Fprintf(w, "%v %s\n", local, r.RemoteAddr)
	})
	mux.HandleFunc("/env/{name}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, os.Getenv(r.PathValue("name")))
	})
	mux.HandleFunc("/file/{path...}", func(w http.ResponseWriter, r *http.Request) {
		text, err := os.ReadFile("/" + r.PathValue("path"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		_, _ = w.Write(text) // a client that went away is no matter
	})
	mux.HandleFunc("/exit/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.PathValue("code"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		// With its length the answer is whole once it is flushed: nobody says when this process gets the processor again.
		const answer = "exiting\n"
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		fmt.Fprint(w, answer)
		_ = http.NewResponseController(w).Flush()
		time.AfterFunc(50*time.Millisecond, func() { os.Exit(code) })
	})
	mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		status, body, err := fetch(r.FormValue("url"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})
	mux.HandleFunc("/resolve/{name}", func(w http.ResponseWriter, r *http.Request) {
		addresses, err := net.DefaultResolver.LookupHost(r.Context(), r.PathValue("name"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		slices.Sort(addresses)
		fmt.Fprintln(w, strings.Join(addresses, "\n"))
	})
	mux.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat("/tmp/unhealthy"); err == nil {
			http.Error(w, "unhealthy", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "healthy")
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.FormValue("bytes"), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = io.CopyN(w, zeros{}, n)
	})
	return mux
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return err.Error()
	}
	return name
}

// fetch asks on a connection of its own, so that each request can meet another replica.
func fetch(url string) (status int, body string, err error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return r.StatusCode, string(text), err
}

func get(args []string) error {
	n := 1
	if len(args) > 1 {
		var err error
		if n, err = strconv.Atoi(args[1]); err != nil {
			return usageError(err.Error())
		}
	}
	for range n {
		status, body, err := fetch(args[0])
		if err != nil {
			return err
		}
		fmt.Print(status, " ", strings.TrimSuffix(body, "\n"), "\n")
		if status >= 400 {
			return fmt.Errorf("status %d", status)
		}
	}
	return nil
}

func udpEcho(args []string) error {
	c, err := net.ListenPacket("udp", args[0])
	if err != nil {
		return err
	}
	endOnTerm()
	fmt.Println("serving", args[0])
	buffer := make([]byte, 65536)
	for {
		n, from, err := c.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if _, err := c.WriteTo(append([]byte(hostname()+" "), buffer[:n]...), from); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

func tcpEcho(args []string) error {
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	endOnTerm()
	fmt.Println("serving", args[0])
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c) // the other side ends it as it likes
		}()
	}
}

func connect(args []string) error {
	c, err := net.DialTimeout("tcp", args[0], 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if len(args) > 1 {
		if _, err := io.WriteString(c, args[1]); err != nil {
			return err
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		if _, err := io.Copy(os.Stdout, c); err != nil {
			return err
		}
		fmt.Println()
		return nil
	}
	fmt.Println("connected")
	return nil
}

func udpAsk(args []string) error {
	c, err := net.Dial("udp", args[0])
	if err != nil {
		return err
	}
	defer c.Close()
	buffer := make([]byte, 65536)
	for range 5 { // datagrams may be lost
		if _, err = io.WriteString(c, args[1]); err != nil {
			return err
		}
		if err = c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		var n int
		if n, err = c.Read(buffer); err == nil {
			fmt.Println(string(buffer[:n]))
			return nil
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
	}
	return err
}

// endOnTerm makes SIGTERM and SIGINT end the process with 0: PID 1 has no default for them.
func endOnTerm() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-c
		fmt.Println("stopping")
		os.Exit(0)
	}()
}

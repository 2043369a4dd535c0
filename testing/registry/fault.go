package registry

import (
	"net/http"
	"strconv"
	"strings"
)

// Fault is something that goes wrong on the wire. It applies to requests by method ("" is GET) whose path has Path in
// it, the first Times of them (0: all).
type Fault struct {
	Method, Path string
	Times        int
	// Cut breaks the connection after so many bytes of the answer's body.
	Cut int64
	// Corrupt turns over the bits of the byte at this place (counted from 1) of the answer's body.
	Corrupt int64
	// Status answers with this status, Body, its media type (JSON if "") and digest instead of asking the registry.
	Status                  int
	Body, MediaType, Digest string
	// Hold delays the answer until the channel is closed or the request is given up.
	Hold <-chan struct{}
	// Before is called before the answer.
	Before func()

	used int
}

// Fault adds a fault.
func (r *Registry) Fault(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, &f)
}

// ClearFaults takes all faults away.
func (r *Registry) ClearFaults() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = nil
}

// faultFor finds the fault for a request; the caller holds the lock.
func (r *Registry) faultFor(req *http.Request) *Fault {
	for _, f := range r.faults {
		method := f.Method
		if method == "" {
			method = http.MethodGet
		}
		if method != req.Method || !strings.Contains(req.URL.Path, f.Path) || f.Times > 0 && f.used >= f.Times {
			continue
		}
		f.used++
		return f
	}
	return nil
}

// spoil gives the writer for an answer with the fault, nil if the answer is given.
func (f *Fault) spoil(w http.ResponseWriter, req *http.Request) http.ResponseWriter {
	if f.Hold != nil {
		select {
		case <-f.Hold:
		case <-req.Context().Done():
			return nil
		}
	}
	if f.Before != nil {
		f.Before()
	}
	if f.Status != 0 {
		mediaType := f.MediaType
		if mediaType == "" {
			mediaType = "application/json"
		}
		w.Header().Set("Content-Type", mediaType)
		if f.Digest != "" {
			w.Header().Set("Docker-Content-Digest", f.Digest)
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(f.Body)))
		w.WriteHeader(f.Status)
		_, _ = w.Write([]byte(f.Body))
		return nil
	}
	if f.Cut == 0 && f.Corrupt == 0 {
		return w
	}
	return &spoiler{ResponseWriter: w, fault: f}
}

// spoiler is a ResponseWriter that does harm. It hides ReadFrom, so that every byte comes by.
type spoiler struct {
	http.ResponseWriter
	fault *Fault
	sent  int64
}

func (s *spoiler) Write(p []byte) (int, error) {
	if at := s.fault.Corrupt - 1; s.fault.Corrupt > 0 && at >= s.sent && at < s.sent+int64(len(p)) {
		p = append([]byte(nil), p...)
		p[at-s.sent] ^= 0xff
	}
	if cut := s.fault.Cut; cut > 0 && s.sent+int64(len(p)) > cut {
		n, _ := s.ResponseWriter.Write(p[:cut-s.sent])
		s.sent += int64(n)
		if f, ok := s.ResponseWriter.(http.Flusher); ok {
			f.Flush()
		}
		panic(http.ErrAbortHandler) // net/http's way to break a connection
	}
	n, err := s.ResponseWriter.Write(p)
	s.sent += int64(n)
	return n, err
}

package build

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	solvererrors "github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc/codes"
)

// Error is a build that didn't work, for who wrote the Dockerfile. File, Line and Source say what of it is to blame, where
// that is known; Output is the end of what a failing step printed.
type Error struct {
	Service string
	File    string
	Line    int
	Source  string
	Reason  string
	Output  string
	// ExitCode is that of a failing step, 0 if none failed.
	ExitCode int
	hint     string
	cause    error
}

// Error has the place and the reason in its first line; the Dockerfile's line and the output follow.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "build %q: ", e.Service)
	if e.File != "" {
		fmt.Fprintf(&b, "%s:%d: ", e.File, e.Line)
	}
	b.WriteString(e.Reason)
	if e.Source != "" {
		fmt.Fprintf(&b, "\n%4d | %s", e.Line, strings.ReplaceAll(e.Source, "\n", "\n     | "))
	}
	if e.Output != "" {
		fmt.Fprintf(&b, "\n       %s", strings.ReplaceAll(e.Output, "\n", "\n       "))
	}
	return b.String()
}

// Hint is the way out, "" if none is known.
func (e *Error) Hint() string { return e.hint }

func (e *Error) Unwrap() error { return e.cause }

// InvalidParameter marks the class for errdefs.
func (e *Error) InvalidParameter() {}

// shownLines is how many lines of output an error has.
const shownLines = 20

// buildError is what stopped a build before it began.
func buildError(req Request, err error) error {
	var e *Error
	if errors.As(err, &e) {
		e.Service = req.Service
		return e
	}
	return fmt.Errorf("build %q: %w", req.Service, err)
}

// solveError is what stopped a build, with its place in the Dockerfile.
func solveError(req Request, err error, seen *outputs) error {
	if errors.Is(err, context.Canceled) || grpcerrors.Code(err) == codes.Canceled {
		return fmt.Errorf("build %q: %w", req.Service, context.Canceled)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("build %q: %w", req.Service, err)
	}
	e := &Error{Service: req.Service, Reason: reasonOf(err), cause: err}
	for _, s := range solvererrors.Sources(err) {
		e.at(s.Info, s.Ranges)
	}
	var step *solvererrors.VertexError
	if errors.As(err, &step) {
		e.Output = seen.of(step.Vertex.Digest, shownLines)
	}
	var exit *gateway.ExitError
	if errors.As(err, &exit) {
		e.ExitCode = int(exit.ExitCode)
		e.Reason = fmt.Sprintf("the command ended with exit code %d", exit.ExitCode)
	}
	e.hint = hintFor(req, e)
	return e
}

// at says which lines of a Dockerfile are to blame, if that is known.
func (e *Error) at(info *pb.SourceInfo, ranges []*pb.Range) {
	if line := lineOf(ranges); line > 0 && info != nil {
		e.File, e.Line, e.Source = info.Filename, line, sourceLines(&solvererrors.Source{Info: info, Ranges: ranges})
	}
}

// frames are what BuildKit's messages have around what is of use.
var frames = regexp.MustCompile(`failed to solve: |rpc error: code = \w+ desc = |ResourceExhausted: |failed to load LLB: |dockerfile parse error on line \d+: ` +
	`|failed to (read|process) "[^"]*": |failed to resolve source metadata for \S+: `)

// missingPath is how BuildKit says that COPY or ADD found nothing.
var missingPath = regexp.MustCompile(`failed to calculate checksum of ref \S+: ("[^"]*"): not found`)

// unreachable is how containerd's resolver says that a registry didn't answer.
var unreachable = regexp.MustCompile(`failed to do request: \w+ "https?://([^/"]+)/[^"]*": `)

// noGit is the reason when BuildKit found no git as it started.
const noGit = "a Git repository can't be fetched without the program git"

// reasonOf is BuildKit's message without its frames.
func reasonOf(err error) string {
	text := err.Error()
	if m := missingPath.FindStringSubmatch(text); m != nil {
		return m[1] + " is not there to be copied"
	}
	text = frames.ReplaceAllString(text, "")
	text = unreachable.ReplaceAllString(text, "registry $1 can't be reached: ")
	if strings.HasSuffix(text, "no handler for git") || strings.Contains(text, "unknown scheme git:") {
		return noGit
	}
	// the name of an image comes twice
	if first, rest, ok := strings.Cut(text, ": "); ok && strings.HasPrefix(rest, first) {
		text = rest
	}
	return text
}

// sourceLines are the lines of a Dockerfile that an error is about.
func sourceLines(s *solvererrors.Source) string {
	lines := strings.Split(string(s.Info.Data), "\n")
	first, last := lineOf(s.Ranges), 0
	for _, r := range s.Ranges {
		last = max(last, int(r.GetEnd().GetLine()), int(r.GetStart().GetLine()))
	}
	last = min(last, len(lines))
	if first > last {
		return ""
	}
	return strings.Join(lines[first-1:last], "\n")
}

func hintFor(req Request, e *Error) string {
	switch {
	case strings.Contains(strings.ToLower(e.Reason), "unauthorized"):
		return "log in to the registry first (berth login)"
	case e.ExitCode == 137:
		return "the command was killed, often for lack of memory"
	case e.ExitCode == 127:
		return "there is no such command in the image at this step"
	case e.ExitCode == 126:
		return "the command can't be executed in the image at this step"
	case e.ExitCode != 0:
		return "mend the command; what was built before it is kept in the cache"
	case strings.Contains(e.Reason, "target stage") && strings.Contains(e.Reason, "could not be found"):
		return "build.target is the name of a stage, given in the Dockerfile with FROM ... AS NAME"
	case strings.Contains(e.Reason, "unknown instruction"):
		return "instructions are words such as FROM, COPY and RUN"
	case strings.Contains(e.Reason, "not allowed") && strings.Contains(e.Reason, "security.insecure"):
		return "allow it with build.privileged or build.entitlements"
	case strings.Contains(e.Reason, "not allowed") && strings.Contains(e.Reason, "network.host"):
		return "allow it with build.entitlements: [network.host]"
	case strings.Contains(e.Reason, "no SSH key"):
		return "give it with build.ssh"
	case strings.Contains(e.Reason, "no match for platform"):
		return "the base image has nothing for this platform; choose another one, or build.platforms"
	case strings.HasSuffix(e.Reason, "is not there to be copied"):
		return "the path is from build.context on, and .dockerignore may leave it out"
	case e.Reason == noGit:
		return "install git on the host, and start the engine anew: berth engine stop"
	case strings.Contains(e.Reason, "secret") && strings.Contains(e.Reason, "not found"):
		return "give it with build.secrets"
	case strings.Contains(e.Reason, "can't be reached: "):
		return "check that it runs and that the network lets it through; a mirror can be set in certs.d of the engine's configuration"
	case strings.HasPrefix(e.Source, "FROM") && strings.HasSuffix(e.Reason, ": not found"):
		return "check the spelling of name and tag"
	}
	return ""
}

// rootCause is the innermost error.
func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

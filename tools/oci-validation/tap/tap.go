// Package tap prints the Test Anything Protocol. The validation programs of runtime-tools import it by the name
// github.com/mndrix/tap-go, which Debian does not package; this is what they need of it.
package tap

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// T counts the results of one program.
type T struct {
	TODO   bool
	Writer io.Writer
	count  int
}

// New prints to standard output.
func New() *T { return &T{Writer: os.Stdout} }

// Header says how many results will come; 0 leaves that to AutoPlan.
func (t *T) Header(count int) {
	t.printf("TAP version 13\n")
	if count > 0 {
		t.printf("1..%d\n", count)
	}
}

// AutoPlan says how many results there were.
func (t *T) AutoPlan() { t.printf("1..%d\n", t.count) }

// Count of results so far.
func (t *T) Count() int { return t.count }

// Ok prints one result.
func (t *T) Ok(good bool, description string) {
	word, directive := "ok", ""
	if !good {
		word = "not ok"
	}
	if t.TODO {
		directive = " # TODO"
	}
	t.count++
	t.printf("%s %d - %s%s\n", word, t.count, description, directive)
}

// Pass prints one good result.
func (t *T) Pass(description string) { t.Ok(true, description) }

// Fail prints one bad result.
func (t *T) Fail(description string) { t.Ok(false, description) }

// Skip prints results that could not be had.
func (t *T) Skip(count int, description string) {
	for ; count > 0; count-- {
		t.count++
		t.printf("ok %d # SKIP %s\n", t.count, description)
	}
}

// Todo returns a T whose failures do not count.
func (t *T) Todo() *T {
	todo := *t
	todo.TODO = true
	return &todo
}

// Diagnostic prints a comment.
func (t *T) Diagnostic(message string) {
	t.printf("# %s\n", strings.ReplaceAll(strings.TrimRight(message, "\n"), "\n", "\n# "))
}

// Diagnosticf prints a formatted comment.
func (t *T) Diagnosticf(format string, values ...interface{}) { t.Diagnostic(fmt.Sprintf(format, values...)) }

// YAML prints details of the result before it, as JSON, which YAML includes.
func (t *T) YAML(message interface{}) error {
	text, err := json.MarshalIndent(message, "  ", "  ")
	if err == nil {
		t.printf("  ---\n  %s\n  ...\n", text)
	}
	return err
}

func (t *T) printf(format string, values ...interface{}) { fmt.Fprintf(t.Writer, format, values...) }

// Package terminal shows on standard error how far long computations are: bars and lines that are
// rewritten on a terminal, and lines now and then elsewhere. It decides nothing.
package terminal

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress shows how far a long computation is: on a terminal a bar, elsewhere a line every half
// minute.
type Progress struct {
	bar *progressbar.ProgressBar // nil elsewhere than on a terminal

	w     io.Writer
	what  string
	shown time.Time
	now   func() time.Time

	// When the share first grew, and what it was: what comes before, such as opening files, tells
	// nothing of how long the rest takes.
	since time.Time
	first float64
}

const progressUnits = 10_000

// NewProgress returns the progress of what is described, on w.
func NewProgress(w io.Writer, what string) *Progress {
	if !isTerminal(w) {
		return &Progress{w: w, what: what, shown: time.Now(), now: time.Now}
	}
	return &Progress{bar: progressbar.NewOptions(progressUnits,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionShowElapsedTimeOnFinish(),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionFullWidth(),
		progressbar.OptionClearOnFinish(),
	)}
}

// Set shows that done of total is done.
func (p *Progress) Set(done, total float64) {
	switch {
	case !(total > 0):
	case p.bar != nil:
		_ = p.bar.Set(int(progressUnits * done / total)) // a terminal that went away is no reason to stop
	default:
		p.line(done / total)
	}
}

// leastShare is how much must have been seen to be done to tell how long the rest takes.
const leastShare = 0.01

// line writes a line if it is time for one.
func (p *Progress) line(share float64) {
	now := p.now()
	if p.since.IsZero() && share > 0 {
		p.since, p.first = now, share
	}
	if now.Sub(p.shown) < lineInterval {
		return
	}
	p.shown = now
	left := ""
	if seen := share - p.first; !p.since.IsZero() && seen >= leastShare && share <= 1 {
		rest := time.Duration(float64(now.Sub(p.since)) * (1 - share) / seen)
		left = fmt.Sprintf(", %s left", rest.Round(time.Second))
	}
	fmt.Fprintf(p.w, "%s: %.0f %%%s\n", p.what, 100*share, left)
}

// Finish removes the bar.
func (p *Progress) Finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

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
// minute, the first as soon as it can tell how long the whole takes.
type Progress struct {
	bar *progressbar.ProgressBar // nil elsewhere than on a terminal

	w     io.Writer
	what  string
	shown time.Time
	said  bool // how long it takes
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

// firstInterval is how long a share must have been watched before the first line.
const firstInterval = 3 * time.Second

// leastShare is how much must have been seen to be done to tell how long the rest takes.
const leastShare = 0.01

// line writes a line if it is time for one.
func (p *Progress) line(share float64) {
	now := p.now()
	if p.since.IsZero() && share > 0 {
		p.since, p.first = now, share
	}
	left, known := time.Duration(0), false
	if seen := share - p.first; !p.since.IsZero() && seen >= leastShare && share <= 1 {
		left, known = time.Duration(float64(now.Sub(p.since))*(1-share)/seen).Round(time.Second), true
	}
	// The first line comes as soon as something can be said of how long the whole takes.
	soon := !p.said && known && now.Sub(p.since) >= firstInterval && left >= lineInterval
	if now.Sub(p.shown) < lineInterval && !soon {
		return
	}
	p.shown = now
	if known {
		p.said = true
		fmt.Fprintf(p.w, "%s: %.0f %%, %s left\n", p.what, 100*share, left)
		return
	}
	fmt.Fprintf(p.w, "%s: %.0f %%\n", p.what, 100*share)
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

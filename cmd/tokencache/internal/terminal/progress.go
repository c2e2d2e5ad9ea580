// Package terminal shows on standard error how far long computations are: bars and lines that are
// rewritten on a terminal, and lines now and then elsewhere. It decides nothing.
package terminal

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress is a bar that shows how far a long computation is, on a terminal; elsewhere it shows
// nothing.
type Progress struct{ bar *progressbar.ProgressBar }

const progressUnits = 10_000

// NewProgress returns a bar on w with a description.
func NewProgress(w io.Writer, what string) *Progress {
	if !isTerminal(w) {
		return &Progress{}
	}
	return &Progress{progressbar.NewOptions(progressUnits,
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
	if p.bar != nil && total > 0 {
		_ = p.bar.Set(int(progressUnits * done / total)) // a terminal that went away is no reason to stop
	}
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

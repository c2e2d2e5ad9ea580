package main

import (
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows on standard error how far a long computation is, where that is a terminal;
// elsewhere it shows nothing.
type progress struct{ bar *progressbar.ProgressBar }

const progressUnits = 10_000

func (a *app) newProgress(what string) *progress {
	f, ok := a.stderr.(*os.File)
	if !ok {
		return &progress{}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &progress{}
	}
	return &progress{progressbar.NewOptions(progressUnits,
		progressbar.OptionSetWriter(f),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionShowElapsedTimeOnFinish(),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionFullWidth(),
		progressbar.OptionClearOnFinish(),
	)}
}

// set shows that done of total is done.
func (p *progress) set(done, total float64) {
	if p.bar != nil && total > 0 {
		_ = p.bar.Set(int(progressUnits * done / total)) // a terminal that went away is no reason to stop
	}
}

func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

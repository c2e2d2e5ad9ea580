package main

import (
	"fmt"
	"os"
	"time"

	"github.com/tokencache/tokencache/train"
)

// trainLine shows how far a training run is: on a terminal one line that is rewritten, elsewhere a
// line now and then.
type trainLine struct {
	a        *app
	terminal bool
	start    time.Time
	shown    time.Time
	first    int // updates made before
	steps    int
	made     int
	images   int
	flops    int64
	loss     float64 // averaged over some fifty updates
	masked   float64 // likewise, of an MDT's masked passes; 0 without them
}

const (
	lineInterval      = 30 * time.Second
	terminalInterval  = time.Second
	lossSmoothing     = 50
	clearLineSequence = "\r\x1b[K"
)

func newTrainLine(a *app, first, steps int) *trainLine {
	l := &trainLine{a: a, start: time.Now(), first: first, steps: steps}
	if f, ok := a.stderr.(*os.File); ok {
		info, err := f.Stat()
		l.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return l
}

func (l *trainLine) step(r train.StepStats) {
	l.made++
	l.images += r.Images
	l.flops += r.FLOPs
	l.loss += (r.Measures["loss"] - l.loss) / float64(min(l.made, lossSmoothing))
	l.masked += (r.Measures["masked"] - l.masked) / float64(min(l.made, lossSmoothing))
	interval := lineInterval
	if l.terminal {
		interval = terminalInterval
	}
	if time.Since(l.shown) < interval && r.Step < l.steps {
		return
	}
	l.shown = time.Now()
	images, gflops := l.rates()
	left := time.Duration(l.seconds() / float64(l.made) * float64(l.steps-r.Step) * float64(time.Second))
	masked := ""
	if l.masked > 0 {
		masked = fmt.Sprintf("  masked %.4f", l.masked)
	}
	text := fmt.Sprintf("update %d/%d  loss %.4f%s  gradient %.3f  rate %.2g  %.1f images/s  %.0f GFLOP/s  %s left",
		r.Step, l.steps, l.loss, masked, r.GradNorm, r.LR, images, gflops, left.Round(time.Second))
	if l.terminal {
		fmt.Fprint(l.a.stderr, clearLineSequence+text)
	} else {
		fmt.Fprintln(l.a.stderr, text)
	}
}

// note writes a separate line.
func (l *trainLine) note(format string, args ...any) {
	if l.terminal {
		fmt.Fprint(l.a.stderr, clearLineSequence)
	}
	l.a.note(format, args...)
}

func (l *trainLine) finish() {
	if l.terminal && l.made > 0 {
		fmt.Fprintln(l.a.stderr)
	}
}

func (l *trainLine) seconds() float64 { return time.Since(l.start).Seconds() }

// rates returns images and GFLOP per second since the start, checkpoints included.
func (l *trainLine) rates() (images, gflops float64) {
	s := l.seconds()
	return float64(l.images) / s, float64(l.flops) / s / 1e9
}

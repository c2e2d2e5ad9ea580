package terminal

import (
	"fmt"
	"io"
	"time"

	"github.com/tokencache/tokencache/train"
)

// TrainLine shows how far a training run is: on a terminal one line that is rewritten, elsewhere a
// line now and then.
type TrainLine struct {
	w        io.Writer
	terminal bool
	start    time.Time
	shown    time.Time
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

// NewTrainLine returns a line on w for a run of steps updates.
func NewTrainLine(w io.Writer, steps int) *TrainLine {
	return &TrainLine{w: w, terminal: isTerminal(w), start: time.Now(), steps: steps}
}

// Step takes in an update and shows it when it is time.
func (l *TrainLine) Step(r train.StepStats) {
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
	images, gflops := l.Rates()
	left := time.Duration(l.Seconds() / float64(l.made) * float64(l.steps-r.Step) * float64(time.Second))
	masked := ""
	if l.masked > 0 {
		masked = fmt.Sprintf("  masked %.4f", l.masked)
	}
	text := fmt.Sprintf("update %d/%d  loss %.4f%s  gradient %.3f  rate %.2g  %.1f images/s  %.0f GFLOP/s  %s left",
		r.Step, l.steps, l.loss, masked, r.GradNorm, r.LR, images, gflops, left.Round(time.Second))
	if l.terminal {
		fmt.Fprint(l.w, clearLineSequence+text)
	} else {
		fmt.Fprintln(l.w, text)
	}
}

// Note writes a separate line.
func (l *TrainLine) Note(format string, args ...any) {
	if l.terminal {
		fmt.Fprint(l.w, clearLineSequence)
	}
	fmt.Fprintln(l.w, Message(fmt.Sprintf(format, args...)))
}

// Finish ends the line.
func (l *TrainLine) Finish() {
	if l.terminal && l.made > 0 {
		fmt.Fprintln(l.w)
	}
}

// Seconds is the time since the start.
func (l *TrainLine) Seconds() float64 { return time.Since(l.start).Seconds() }

// Rates returns images and GFLOP per second since the start, checkpoints included.
func (l *TrainLine) Rates() (images, gflops float64) {
	s := l.Seconds()
	return float64(l.images) / s, float64(l.flops) / s / 1e9
}

package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/tokencache/tokencache/internal/kernel"
)

// WriteKernelHeader writes the names of the columns of KernelRow.Write.
func WriteKernelHeader(out io.Writer) {
	fmt.Fprintf(out, "%-10s %-5s %-8s %7s %5s %5s %5s %9s %8s\n", "op", "dtype", "level", "threads", "m", "k", "n", "GFLOP/s", "of peak")
}

// Write writes a row of a table.
func (r KernelRow) Write(out io.Writer) {
	fmt.Fprintf(out, "%-10s %-5s %-8s %7d %5d %5d %5d %9.1f %7.1f%%%s\n",
		r.Op, r.DType, r.Level, r.Threads, r.M, r.K, r.N, r.GFLOPs, r.PercentOfPeak, mark(r.PercentOfPeak))
}

// mark marks a percentage of the peak that cannot be.
func mark(percent float64) string {
	if percent > 100 {
		return " !"
	}
	return ""
}

// WriteDisturbed writes a line where something says that times are wrong.
func WriteDisturbed(out io.Writer, signs []string) error {
	if len(signs) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(out, "the times may be wrong, for there was %s; measure again on a quiet machine\n",
		strings.Join(signs, ", and "))
	return err
}

// WritePeaks writes the peak of each number format.
func (r *KernelReport) WritePeaks(out io.Writer) error {
	for _, d := range kernel.DTypes() {
		peak, ok := r.Peaks[d.String()]
		if !ok {
			continue
		}
		if _, err := fmt.Fprintf(out, "peak of multiply-adds in %v: %.1f GFLOP/s\n", d, peak); err != nil {
			return err
		}
	}
	return nil
}

// WriteModels writes a row for each share of the tokens.
func WriteModels(out io.Writer, reports []ModelReport) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "tokens\tms\tGFLOP/s\tof peak\tof the full time\ttimes as fast as f32\t")
	for _, r := range reports {
		ratio, speedup := "", ""
		if r.Ratio > 0 {
			ratio = fmt.Sprintf("%.1f%%", 100*r.Ratio)
		}
		if r.Speedup > 0 {
			speedup = fmt.Sprintf("%.2f", r.Speedup)
		}
		exceeds := ""
		if r.DType == kernel.F32.String() {
			exceeds = mark(r.PercentOfPeak)
		}
		fmt.Fprintf(w, "%g%%\t%.1f\t%.1f\t%.1f%%%s\t%s\t%s\t\n", r.Percent, r.Milliseconds, r.GFLOPs, r.PercentOfPeak,
			exceeds, ratio, speedup)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	r := reports[0]
	if d := r.DiT; d != nil {
		fmt.Fprintf(out, "against %s: %.2f (%.1f ms)", d.Arch, d.Ratio, d.Milliseconds)
		if d.SkipShare > 0 {
			fmt.Fprintf(out, "; %.2f without skip_linear, which is %.1f%% of the FLOPs", d.Apart, 100*d.SkipShare)
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "%s in %s, batch %d, %d threads, %s; peak of fused multiply-adds: %.1f GFLOP/s\n",
		r.Arch, r.DType, r.Batch, r.Threads, r.Level, r.PeakGFLOPs)
	return WriteDisturbed(out, r.Disturbed)
}

// Write writes the report as text.
func (r *PolicyReport) Write(out io.Writer) error {
	fmt.Fprintf(out, "%s in %s, batch %d, %d threads, %s; %s\n", r.Arch, r.DType, r.Batch, r.Threads, r.Level, r.Policy)
	fmt.Fprintf(out, "without a policy  %8.1f ms\nI-step (%d)        %8.1f ms\n", r.UncachedMS, r.ISteps, r.IStepMS)
	if r.PSteps == 0 {
		_, err := fmt.Fprintf(out, "no P-step among the first %d steps\n", r.ISteps)
		return err
	}
	fmt.Fprintf(out, "P-step (%d)        %8.1f ms, "+
		"%.1f %% of an I-step, with %.1f %% of its FLOPs and %.1f %% of its tokens\n"+
		"cache             %8.1f MB\n",
		r.PSteps, r.PStepMS, 100*r.Ratio, 100*r.FLOPRatio, 100*r.Share, float64(r.CacheBytes)/(1<<20))
	return WriteDisturbed(out, r.Disturbed)
}

// Write writes the report as a line of text.
func (r *TrainReport) Write(out io.Writer) error {
	fmt.Fprintf(out, "%s, %d images an update, %d threads, %s, %s: "+
		"%.0f ms, %.1f images/s, %.1f GFLOP/s, %.1f%% of the peak of %.1f GFLOP/s\n",
		r.Arch, r.Batch, r.Threads, r.Level, r.DType, r.Milliseconds, r.Images, r.GFLOPs, r.PercentOfPeak, r.PeakGFLOPs)
	return WriteDisturbed(out, r.Disturbed)
}

// Write writes a table of images a second, with the share of the rate of one request of 8 images.
func (r *EngineReports) Write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "images/s\twith the policy\tuncached\t")
	for _, row := range []struct {
		name string
		rate func(*EngineReport) float64
	}{
		{"one request of 8 images", func(r *EngineReport) float64 { return r.Batch8 }},
		{"one image after another", func(r *EngineReport) float64 { return r.Alone }},
		{"8 requests at the same time", func(r *EngineReport) float64 { return r.Concurrent }},
		{"requests that join at random times", func(r *EngineReport) float64 { return r.Joining }},
	} {
		fmt.Fprint(w, row.name)
		for _, r := range []*EngineReport{r.EngineReport, r.Uncached} {
			fmt.Fprintf(w, "\t%.2f (%.0f %%)", row.rate(r), 100*row.rate(r)/r.Batch8)
		}
		fmt.Fprintln(w, "\t")
	}
	fmt.Fprintf(w, "latency at 80 %% of capacity, median\t%.0f ms\t%.0f ms\t\n", r.P50, r.Uncached.P50)
	fmt.Fprintf(w, "latency at 80 %% of capacity, 99th percentile\t%.0f ms\t%.0f ms\t\n", r.P99, r.Uncached.P99)
	fmt.Fprintf(w, "images equal to those generated alone\t%t\t%t\t\n", r.Identical, r.Uncached.Identical)
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "policy: %s\n", r.Policy)
	return err
}

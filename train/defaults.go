package train

import "github.com/tokencache/tokencache/eval"

// Defaults returns the settings of the training of a DiT or an MDT, without Steps: see
// Settings.Epochs.
func Defaults() Settings {
	return Settings{
		Batch:    64,
		Micro:    16,
		LR:       8e-4,
		Warmup:   200,
		Schedule: "constant",
		Clip:     1,
		EMA:      0.999,
	}
}

// ClassifierDefaults returns the settings of the training of a classifier, without Steps.
func ClassifierDefaults() Settings {
	s := Defaults()
	s.LR, s.Schedule, s.Decay = 1e-3, "cosine", 0.01
	return s
}

// Epochs of the default trainings.
const (
	DefaultEpochs           = 10
	DefaultClassifierEpochs = 8
	DefaultCaptionedEpochs  = 150 // of a classifier of captioned things
)

// Epochs returns the number of updates, at least one, in which each of so many images is seen epochs
// times.
func (s Settings) Epochs(epochs float64, images int) int {
	return max(1, int(epochs*float64(images)/float64(s.Batch)))
}

// DenoiserDefaults returns the default options of a DiT's examples.
func DenoiserDefaults() DenoiserOptions { return DenoiserOptions{Seed: 1, Dropout: 0.1} }

// ClassifierExamples returns the default options of a classifier's examples.
func ClassifierExamples() ClassifierOptions {
	return ClassifierOptions{Seed: 1, Shift: 2, Flip: true, Smoothing: 0.1}
}

// CaptionedExamples returns the default options of the examples of a classifier of captioned things,
// of which there may be only two images each.
func CaptionedExamples() ClassifierOptions {
	return ClassifierOptions{Seed: 1, Shift: 5, Flip: true, Smoothing: 0.1, Distort: &Distortion{
		Scale:      1.2,
		Turn:       8,
		Contrast:   1.2,
		Brightness: 0.1,
		Blur:       0.8,
		Noise:      0.15,
	}}
}

// ClassifierWidths returns the default widths of a classifier's network for images of a size: for
// captioned things, of which there are many, one for each halving down to 4 pixels, so that a feature
// sees nearly the whole image.
func ClassifierWidths(size int, captioned bool) []int {
	if !captioned {
		return []int{32, 64, 128}
	}
	widths := []int{24, 48, 96, 192, 192}
	n := eval.MinClassifierWidths
	for n < len(widths) && size>>n >= 4 {
		n++
	}
	return widths[:n]
}

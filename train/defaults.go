package train

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

"""What settings and layers call their choices; settings are checked without torch, which layers need."""

# normalizers of attention
SOFTMAX = "softmax"
RELU2 = "relu2"
MEAN = "mean"
NORMALIZERS = (SOFTMAX, RELU2, MEAN)

# scores of attention
TANH = "tanh"
LINEAR = "linear"
TANH_STATES = "tanh_states"
SCORES = (TANH, LINEAR)

# how weights start
INITS = ("paper", "he")
BIAS_INITS = ("zero", "uniform")
QUERY_INITS = ("normal", "positive")

POSITIONS = ("none", "fraction", "sinusoid")  # features of a step's position
CELLS = ("lstm", "gru", "rnn")  # of recurrent layers

SPLITS = ("val", "test")  # what can be evaluated

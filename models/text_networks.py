"""A BERT encoder with a sentence's embedding at its end, under the names of its checkpoint (transformers' BertModel).

Written so that it can be cut anywhere: one input, the tokens' indices [N, T]; padding is told by its index, so that nothing but
a batch of them has to travel. Devlin et al. 2019, arXiv:1810.04805; Reimers and Gurevych 2019, arXiv:1908.10084.
"""
import torch
from torch import nn
from torch.nn import functional as F


class Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config["hidden_size"]
        self.word_embeddings = nn.Embedding(config["vocab_size"], width)
        self.position_embeddings = nn.Embedding(config["max_position_embeddings"], width)
        self.token_type_embeddings = nn.Embedding(config["type_vocab_size"], width)
        self.LayerNorm = nn.LayerNorm(width, eps=config["layer_norm_eps"])

    def forward(self, tokens):
        places = self.position_embeddings.weight[: tokens.size(1)]
        return self.LayerNorm(self.word_embeddings(tokens) + self.token_type_embeddings.weight[0] + places)


class SelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x, seen):
        n, t, c = x.shape
        shape = [n, t, self.heads, c // self.heads]
        query, key, value = (self.query(x).view(shape).transpose(1, 2), self.key(x).view(shape).transpose(1, 2),
                             self.value(x).view(shape).transpose(1, 2))
        return F.scaled_dot_product_attention(query, key, value, attn_mask=seen).transpose(1, 2).reshape(n, t, c)


class AddAndNorm(nn.Module):
    def __init__(self, inner, width, eps, dropout):
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x, before):
        return self.LayerNorm(self.dropout(self.dense(x)) + before)


class Attention(nn.Module):
    def __init__(self, width, heads, eps, dropout):
        super().__init__()
        self.self = SelfAttention(width, heads)
        self.output = AddAndNorm(width, width, eps, dropout)

    def forward(self, x, seen):
        return self.output(self.self(x, seen), x)


class Intermediate(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.dense = nn.Linear(width, inner)

    def forward(self, x):
        return F.gelu(self.dense(x))


class Layer(nn.Module):
    def __init__(self, config, dropout):
        super().__init__()
        width, inner, eps = config["hidden_size"], config["intermediate_size"], config["layer_norm_eps"]
        self.attention = Attention(width, config["num_attention_heads"], eps, dropout)
        self.intermediate = Intermediate(width, inner)
        self.output = AddAndNorm(inner, width, eps, dropout)

    def forward(self, x, seen):
        x = self.attention(x, seen)
        return self.output(self.intermediate(x), x)


class Encoder(nn.Module):
    def __init__(self, config, dropout):
        super().__init__()
        self.layer = nn.ModuleList(Layer(config, dropout) for _ in range(config["num_hidden_layers"]))


class Pooling(nn.Module):
    """The mean of a text's tokens, of length 1."""

    def forward(self, x, real):
        weights = real.unsqueeze(2).to(x.dtype)
        return F.normalize((x * weights).sum(1) / weights.sum(1).clamp(min=1e-9), p=2.0, dim=1)


class SentenceEncoder(nn.Module):
    """[N, T], int64, shorter texts filled up with `padding` at the end, to embeddings [N, hidden_size]."""

    def __init__(self, config, padding, dropout=0.0):
        super().__init__()
        if config.get("hidden_act", "gelu") != "gelu" or config.get("position_embedding_type", "absolute") != "absolute":
            raise ValueError("only gelu and absolute positions are known here")
        self.padding = padding
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config, dropout)
        self.pooling = Pooling()

    def forward(self, tokens):
        real = tokens != self.padding
        seen = real[:, None, None, :]
        x = self.embeddings(tokens)
        for layer in self.encoder.layer:
            x = layer(x, seen)
        return self.pooling(x, real)

"""The paper's network: encoder, StyleGAN2 generator, discriminator."""

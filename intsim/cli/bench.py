"""x"""
import click
@click.command()
def bench() -> None:
    pass
@click.command()
def warmup() -> None:
    pass
